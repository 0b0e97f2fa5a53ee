// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

func loadWith(t *testing.T, file string, args ...string) (*Config, error) {
	t.Helper()
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, "config"), 0o750); err != nil {
		t.Fatal(err)
	}
	if file != "" {
		if err := os.WriteFile(filepath.Join(home, "config", FileName), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var cfg *Config
	var err error
	root := &cobra.Command{Use: "app", SilenceUsage: true, SilenceErrors: true}
	AddGlobalFlags(root, "app")
	cmd := &cobra.Command{Use: "start", RunE: func(cmd *cobra.Command, _ []string) error {
		cfg, err = Load(cmd)
		return err
	}}
	AddFlags(cmd)
	root.AddCommand(cmd)
	root.SetArgs(append([]string{"start", "--home", home}, args...))
	if e := root.Execute(); err == nil {
		err = e
	}
	return cfg, err
}

func TestFlagBeatsFileBeatsDefault(t *testing.T) {
	file := "node:\n  block_time: 3s\nrpc:\n  address: 1.2.3.4:5\nraft:\n  Peers: a@b:1\nunknown: {key: 1}\n"
	cfg, err := loadWith(t, file, "--rollkit.node.block_time=7s")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Node.BlockTime.D() != 7*time.Second || cfg.RPC.Address != "1.2.3.4:5" || cfg.Raft.Peers != "a@b:1" {
		t.Fatalf("%+v", cfg)
	}
	if cfg.Raft.HeartbeatTimeout != 350*time.Millisecond || cfg.P2P.ListenAddress != "/ip4/0.0.0.0/tcp/7676" {
		t.Fatalf("defaults: %+v", cfg)
	}
}

func TestFileThatCannotBeReadCountsAsEmpty(t *testing.T) {
	for _, file := range []string{"", "node: [\n", "node:\n  aggregator: true\n node: x\n", "just words", "a: 1\na: 2\n"} {
		cfg, err := loadWith(t, file)
		if err != nil {
			t.Fatalf("%q: %v", file, err)
		}
		if cfg.Node.Aggregator || cfg.Node.BlockTime.D() != time.Second {
			t.Fatalf("%q: %+v", file, cfg.Node)
		}
	}
}

func TestWrongTypesAreErrors(t *testing.T) {
	for file, want := range map[string]string{
		"node:\n  block_time: 1\n":           `'node.block_time' expected a map or struct, got "int"`,
		"node:\n  block_time: abc\n":         `'node.block_time' time: invalid duration "abc"`,
		"node:\n  aggregator: maybe\n":       "'node.aggregator' cannot parse value as 'bool'",
		"raft:\n  heartbeat_timeout: soon\n": "'raft.heartbeat_timeout' time: invalid duration",
		"node: foo\n":                        `'node' expected a map or struct, got "string"`,
	} {
		_, err := loadWith(t, file)
		if err == nil || !strings.HasPrefix(err.Error(), "reading evnode.yaml\n") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", file, err)
		}
	}
	if _, err := loadWith(t, "node:\n  block_time: 1\n", "--evnode.node.block_time=2s"); err != nil {
		t.Errorf("a flag hides the wrong value of the file: %v", err)
	}
}

func TestBareNumberOfARaftDurationIsNanoseconds(t *testing.T) {
	cfg, err := loadWith(t, "raft:\n  heartbeat_timeout: 92\n")
	if err != nil || cfg.Raft.HeartbeatTimeout != 92 {
		t.Fatalf("%v, %v", cfg.Raft.HeartbeatTimeout, err)
	}
}

func TestExclusiveFlags(t *testing.T) {
	_, err := loadWith(t, "", "--evnode.node.catchup_timeout=0s", "--evnode.raft.enable=false")
	if err == nil || !strings.Contains(err.Error(), "[evnode.node.catchup_timeout evnode.raft.enable]") {
		t.Fatal(err)
	}
	if _, err = loadWith(t, "", "--evnode.signer.passphrase=x"); err == nil || !strings.Contains(err.Error(), "unknown flag: --evnode.signer.passphrase") {
		t.Fatal(err)
	}
}

func TestSavedFileReadsBackTheSame(t *testing.T) {
	cfg := Default()
	cfg.Home = t.TempDir()
	cfg.Node.Aggregator, cfg.Raft.SendTimeout = true, 123*time.Millisecond
	cfg.Raft.Peers, cfg.DA.SigningAddresses = "a@b:1,c@d:2", []string{"x", "y"}
	if err := cfg.Save(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(cfg.Path())
	if err != nil {
		t.Fatal(err)
	}
	again, err := loadWith(t, string(raw))
	if err != nil {
		t.Fatal(err)
	}
	again.Home = cfg.Home
	for i, o := range again.options() {
		if o.inFile && !equal(o.target, cfg.options()[i].target) {
			t.Errorf("%s differs", o.key)
		}
	}
	if info, _ := os.Stat(cfg.Path()); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func equal(a, b any) bool {
	switch x := a.(type) {
	case *string:
		return *x == *b.(*string)
	case *bool:
		return *x == *b.(*bool)
	case *uint64:
		return *x == *b.(*uint64)
	case *int:
		return *x == *b.(*int)
	case *float64:
		return *x == *b.(*float64)
	case *Interval:
		return *x == *b.(*Interval)
	case *time.Duration:
		return *x == *b.(*time.Duration)
	case *[]string:
		return strings.Join(*x, ",") == strings.Join(*b.(*[]string), ",")
	}
	return false
}

func TestValidation(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"": func(*Config) {},
		"node ID is required\nraft address is required": func(c *Config) { c.Raft.Enable = true },
		"catchup timeout and Raft consensus are mutually exclusive; disable one of them": func(c *Config) {
			c.Raft.Enable, c.Node.Aggregator, c.Node.CatchupTimeout = true, true, 1
		},
		"could not validate namespace (): namespace cannot be empty": func(c *Config) { c.DA.Namespace = "" },
		"election timeout (1s) must be >= heartbeat timeout (2s)": func(c *Config) {
			c.Raft.Enable, c.Raft.NodeID, c.Raft.Addr, c.Raft.HeartbeatTimeout = true, "a", "b:1", 2*time.Second
		},
	} {
		c := Default()
		c.Home = t.TempDir()
		change(c)
		got := ""
		if err := c.Validate(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestNamespaceIsMadeFromTheName(t *testing.T) {
	const want = "0x00000000000000000000000000000000000000cca32c5924c6e0ff6665"
	if got := NamespaceHex("y9T2V7QAuq"); got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	if randomNamespace(1) == randomNamespace(2) || len(randomNamespace(1)) != 10 {
		t.Fatal("random namespaces repeat")
	}
}
