// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package settings

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
)

// Validate checks what ev-node checks before a node starts, and creates the config directory as it does.
func (c *Config) Validate() error {
	if err := c.validateSigner(); err != nil {
		return err
	}
	if c.Home == "" {
		return errors.New("root directory cannot be empty")
	}
	if err := os.MkdirAll(c.ConfigDir(), 0o750); err != nil {
		return fmt.Errorf("could not create directory %q: %w", c.ConfigDir(), err)
	}
	n := &c.Node
	for _, rule := range []struct {
		broken bool
		text   string
	}{
		{n.Promotable && n.BasedSequencer, "promotable mode cannot be combined with based sequencer mode"},
		{n.Promotable && n.Light, "promotable mode cannot be combined with light node mode"},
		{n.Promotable && c.Raft.Enable, "promotable mode cannot be combined with Raft consensus"},
		{n.BasedSequencer && !n.Aggregator, "based sequencer mode requires aggregator mode to be enabled"},
		{n.CatchupTimeout > 0 && !n.Aggregator, "catchup timeout requires aggregator mode to be enabled"},
		{n.CatchupTimeout > 0 && c.Raft.Enable, "catchup timeout and Raft consensus are mutually exclusive; disable one of them"},
		{c.DA.Namespace == "", "could not validate namespace (): namespace cannot be empty"},
		{n.LazyMode && n.LazyBlockInterval <= n.BlockTime, fmt.Sprintf(
			"LazyBlockInterval (%v) must be greater than BlockTime (%v) in lazy mode", n.LazyBlockInterval, n.BlockTime)},
	} {
		if rule.broken {
			return errors.New(rule.text)
		}
	}
	if err := c.validateRaft(); err != nil {
		return err
	}
	return c.validatePruning()
}

func (c *Config) validateSigner() error {
	if c.Signer.Type != "kms" {
		return nil
	}
	switch s := &c.Signer; s.KMSProvider {
	case "aws":
		if s.AWSKeyID == "" {
			return errors.New("evnode.signer.kms.aws.key_id is required when signer.signer_type is kms and signer.kms.provider is aws")
		}
	case "gcp":
		if s.GCPKeyName == "" {
			return errors.New("evnode.signer.kms.gcp.key_name is required when signer.signer_type is kms and signer.kms.provider is gcp")
		}
	default:
		return errors.New("evnode.signer.kms.provider must be one of: aws, gcp when signer.signer_type is kms")
	}
	return nil
}

func (c *Config) validateRaft() error {
	r := &c.Raft
	if !r.Enable {
		return nil
	}
	var all []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			all = append(all, fmt.Errorf(format, args...))
		}
	}
	need(r.NodeID != "", "node ID is required")
	need(r.Addr != "", "raft address is required")
	need(r.Dir != "", "raft directory is required")
	need(r.SendTimeout > 0, "send timeout must be positive")
	need(r.HeartbeatTimeout > 0, "heartbeat timeout must be positive")
	need(r.LeaderLeaseTimeout > 0, "leader lease timeout must be positive")
	need(r.ElectionTimeout >= 0, "election timeout (%v) must be >= 0", r.ElectionTimeout)
	if r.ElectionTimeout > 0 {
		need(r.ElectionTimeout >= r.HeartbeatTimeout, "election timeout (%v) must be >= heartbeat timeout (%v)",
			r.ElectionTimeout, r.HeartbeatTimeout)
	}
	return errors.Join(all...)
}

func (c *Config) validatePruning() error {
	p := &c.Pruning
	switch {
	case p.Mode == "disabled":
		return nil
	case p.Mode != "all" && p.Mode != "metadata":
		return fmt.Errorf("invalid pruning mode: %s; must be one of 'disabled', 'all', or 'metadata'", p.Mode)
	case p.Interval == 0:
		return errors.New("pruning_interval must be >= 1s when pruning is enabled")
	case p.Interval < c.Node.BlockTime:
		return fmt.Errorf("pruning_interval (%v) must be greater than or equal to block time (%v)", p.Interval, c.Node.BlockTime)
	case p.KeepRecent == 0:
		return errors.New("pruning_keep_recent must be > 0 when pruning is enabled; use pruning_enabled=false to keep all blocks")
	}
	return nil
}

// NamespaceHex is the 29-byte DA namespace made from a name: version 0, 18 zero bytes, 10 bytes of the name's SHA-256.
func NamespaceHex(name string) string {
	sum := sha256.Sum256([]byte(name))
	id := make([]byte, 29)
	copy(id[19:], sum[:10])
	return "0x" + hex.EncodeToString(id)
}
