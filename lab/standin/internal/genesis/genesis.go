// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package genesis holds the facts that all nodes of a chain share from its first moment.
package genesis

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ErrExists says that a genesis file was already there.
var ErrExists = errors.New("genesis file already exists")

// Genesis is the content of genesis.json.
type Genesis struct {
	ChainID                string    `json:"chain_id"`
	StartTime              time.Time `json:"start_time"`
	InitialHeight          uint64    `json:"initial_height"`
	ProposerAddress        []byte    `json:"proposer_address"`
	DAStartHeight          uint64    `json:"da_start_height"`
	DAEpochForcedInclusion uint64    `json:"da_epoch_forced_inclusion"`
}

// Path is the genesis file of a home.
func Path(home string) string { return filepath.Join(home, "config", "genesis.json") }

// Create writes a new genesis that starts now; it leaves an existing file alone and returns ErrExists.
func Create(home, chainID string, proposer []byte) error {
	path := Path(home)
	if _, err := os.Stat(path); err == nil {
		return ErrExists
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("error creating config directory: %w", err)
	}
	raw, err := json.MarshalIndent(Genesis{
		ChainID: chainID, StartTime: time.Now().UTC(), InitialHeight: 1, ProposerAddress: proposer, DAEpochForcedInclusion: 50,
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}

// Load reads and checks a genesis file.
func Load(path string) (*Genesis, error) {
	raw, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, fmt.Errorf("genesis file not found at path: %s", path)
	} else if err != nil {
		return nil, fmt.Errorf("failed to read genesis file: %w", err)
	}
	g := &Genesis{}
	if err := json.Unmarshal(raw, g); err != nil {
		return nil, fmt.Errorf("invalid genesis file: %w", err)
	}
	switch {
	case g.ChainID == "":
		return nil, errors.New("invalid or missing chain_id in genesis file")
	case g.InitialHeight < 1:
		return nil, fmt.Errorf("initial_height must be at least 1, got %d", g.InitialHeight)
	case g.StartTime.IsZero():
		return nil, errors.New("start_time cannot be zero time")
	case g.ProposerAddress == nil:
		return nil, errors.New("proposer_address cannot be nil")
	case g.DAEpochForcedInclusion < 1:
		return nil, fmt.Errorf("da_epoch_forced_inclusion must be at least 1, got %d", g.DAEpochForcedInclusion)
	}
	return g, nil
}
