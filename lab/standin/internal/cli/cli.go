// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package cli is the command line of the node.
package cli

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"evnode.dev/standin/internal/app"
	"evnode.dev/standin/internal/chainstore"
	"evnode.dev/standin/internal/evm"
	"evnode.dev/standin/internal/genesis"
	"evnode.dev/standin/internal/identity"
	"evnode.dev/standin/internal/node"
	"evnode.dev/standin/internal/settings"
	"evnode.dev/standin/internal/signer"
)

// name is the name of the program and, with a dot, of its default home.
const name = "evnode-standin"

// Set by the linker; a binary that was built without them cannot tell its version.
var (
	Version string
	GitSHA  string
)

// Execute runs the command line and returns the exit code.
func Execute() int {
	if err := root().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func root() *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: "A node of a small key-value chain that behaves like ev-node, for rehearsals"}
	settings.AddGlobalFlags(cmd, name)
	cmd.AddCommand(startCmd(), versionCmd(), netInfoCmd(), cleanCmd(), keysCmd(), rollbackCmd(), initCmd())
	return cmd
}

func load(cmd *cobra.Command) (*settings.Config, error) {
	cfg, err := settings.Load(cmd)
	if err != nil {
		return nil, fmt.Errorf("failed to load node config: %w", err)
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("failed to validate node config: %w", err)
	}
	return cfg, nil
}

func startCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "start", Aliases: []string{"node", "run"}, Short: "Run the node",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(cmd)
			if err != nil {
				return err
			}
			if (cfg.Node.Aggregator || cfg.Node.Promotable) && cfg.DAAddress() == "" {
				return errors.New("DA address is required when aggregator or promotable mode is enabled")
			}
			text := func(flag string) string {
				value, _ := cmd.Flags().GetString(flag)
				return value
			}
			return node.Run(cfg, node.Options{
				PassphraseFile: text(settings.FlagPassphraseFile), KVEndpoint: text("kv-endpoint"),
				EVM: evm.Settings{
					EthURL: text("evm.eth-url"), EngineURL: text("evm.engine-url"), SecretFile: text("evm.jwt-secret-file"),
					GenesisHash: text("evm.genesis-hash"), FeeRecipient: text("evm.fee-recipient"),
				},
			}, node.NewLogger(cfg))
		},
	}
	settings.AddFlags(cmd)
	cmd.Flags().String("kv-endpoint", "", "host:port of the application's HTTP server")
	cmd.Flags().String("evm.eth-url", "http://localhost:8545", "JSON-RPC of the execution client")
	cmd.Flags().String("evm.engine-url", "http://localhost:8551", "Engine API of the execution client")
	cmd.Flags().String("evm.jwt-secret-file", "", "file that holds the secret of the Engine API; makes this an EVM chain")
	cmd.Flags().String("evm.genesis-hash", "", "hash of the execution client's genesis block")
	cmd.Flags().String("evm.fee-recipient", "0x0000000000000000000000000000000000000000", "receiver of the fees")
	return cmd
}

func initCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "init", Short: "Write the files of a new home",
		RunE: func(cmd *cobra.Command, _ []string) error {
			home, _ := cmd.Flags().GetString("home")
			cfg, _ := settings.Load(cmd)
			if cfg == nil {
				return errors.New("error validating config: root directory cannot be empty")
			}
			cfg.Node.Aggregator, _ = cmd.Flags().GetBool("evnode.node.aggregator")
			cfg.Node.BlockTime = settings.Interval(100 * time.Millisecond)
			if err := cfg.Validate(); err != nil {
				return fmt.Errorf("error validating config: %w", err)
			}
			proposer, err := initSigner(cmd, cfg, home)
			if err != nil {
				return err
			}
			if err := cfg.Save(); err != nil {
				return fmt.Errorf("error writing evnode.yml file: %w", err)
			}
			if _, err := identity.LoadOrCreate(filepath.Join(home, "config")); err != nil {
				return fmt.Errorf("failed to create node key: %w", err)
			}
			chainID, _ := cmd.Flags().GetString("chain_id")
			switch err := genesis.Create(home, chainID, proposer); {
			case errors.Is(err, genesis.ErrExists):
				if _, err := genesis.Load(genesis.Path(home)); err != nil {
					return fmt.Errorf("error loading existing genesis file: %w", err)
				}
				cmd.Printf("Genesis file already exists at %s, skipping creation.\n", genesis.Path(home))
			case err != nil:
				return fmt.Errorf("error initializing genesis file: %w", err)
			}
			cmd.Printf("Successfully initialized config file at %s\n", cfg.Path())
			return nil
		},
	}
	settings.AddFlags(cmd)
	cmd.Flags().String("chain_id", "ev-test", "name of the chain")
	return cmd
}

func initSigner(cmd *cobra.Command, cfg *settings.Config, home string) ([]byte, error) {
	phrase := ""
	if file, _ := cmd.Flags().GetString(settings.FlagPassphraseFile); file != "" {
		var err error
		if phrase, err = signer.ReadPassphrase(file); err != nil {
			return nil, err
		}
	}
	if !cfg.Node.Aggregator {
		return nil, nil
	}
	if cfg.Signer.Type != "file" {
		return nil, fmt.Errorf("failed to initialize signer via factory: signer type %q is not available in this binary", cfg.Signer.Type)
	}
	cfg.Signer.Path = filepath.Join(home, "config")
	s, err := signer.Open(cfg.Signer.Path, phrase, true)
	if err != nil {
		return nil, fmt.Errorf("failed to initialize signer via factory: %w", err)
	}
	return s.Address(), nil
}

func versionCmd() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if GitSHA == "" {
				return errors.New("git SHA not set")
			}
			if Version == "" {
				return errors.New("version not set")
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 2, 0, 2, ' ', 0)
			fmt.Fprintf(w, "\nevolve version:\t%s\nevolve git sha:\t%s\n\n", Version, GitSHA)
			return w.Flush()
		},
	}
}

func cleanCmd() *cobra.Command {
	return &cobra.Command{
		Use: "unsafe-clean", Short: "Delete everything inside the data directory, without asking",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(cmd)
			if err != nil {
				return fmt.Errorf("error parsing config: %w", err)
			}
			dir := cfg.DataDir()
			fmt.Println("Data directory:", dir)
			entries, err := os.ReadDir(dir)
			if err != nil && !os.IsNotExist(err) {
				return fmt.Errorf("failed to read data directory: %w", err)
			}
			for _, e := range entries {
				if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
					return fmt.Errorf("failed to remove %s: %w", filepath.Join(dir, e.Name()), err)
				}
			}
			cmd.Printf("All contents of the data directory at %s have been removed.\n", dir)
			return nil
		},
	}
}

func keysCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Take the signing key out, or put one in"}
	passphrase := func(cmd *cobra.Command, missing string) (string, error) {
		file, _ := cmd.Flags().GetString(settings.FlagPassphraseFile)
		if file == "" {
			return "", fmt.Errorf("%s. Please provide it using the --%s flag", missing, settings.FlagPassphraseFile)
		}
		return signer.ReadPassphrase(file)
	}
	export := &cobra.Command{
		Use: "export", Short: "Print the private key as plain text",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := settings.Load(cmd)
			if err != nil {
				return fmt.Errorf("failed to load node config: %w", err)
			}
			phrase, err := passphrase(cmd, "passphrase file is required")
			if err != nil {
				return err
			}
			cmd.PrintErrln("WARNING: EXPORTING PRIVATE KEY. HANDLE WITH EXTREME CARE.")
			cmd.PrintErrln("ANYONE WITH ACCESS TO THIS KEY CAN SIGN MESSAGES ON YOUR BEHALF.")
			key, err := signer.Export(cfg.ConfigDir(), phrase)
			if err != nil {
				return fmt.Errorf("failed to export private key: %w", err)
			}
			cmd.Println(hex.EncodeToString(key))
			return nil
		},
	}
	imp := &cobra.Command{
		Use: "import [hex-private-key]", Short: "Encrypt a private key given as hex", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := settings.Load(cmd)
			if err != nil {
				return fmt.Errorf("failed to load node config: %w", err)
			}
			phrase, err := passphrase(cmd, "passphrase file is required to encrypt the imported key")
			if err != nil {
				return err
			}
			key, err := hex.DecodeString(args[0])
			if err != nil {
				return fmt.Errorf("failed to decode hex private key: %w", err)
			}
			file := filepath.Join(cfg.ConfigDir(), signer.FileName)
			if force, _ := cmd.Flags().GetBool("force"); !force {
				if _, err := os.Stat(file); err == nil {
					return fmt.Errorf("key file already exists at %s. Use --force to overwrite", file)
				}
			}
			if err := signer.Import(cfg.ConfigDir(), key, phrase); err != nil {
				return fmt.Errorf("failed to import private key: %w", err)
			}
			cmd.Printf("Successfully imported key and saved to %s\n", file)
			return nil
		},
	}
	imp.Flags().Bool("force", false, "replace an existing key")
	for _, c := range []*cobra.Command{export, imp} {
		c.Flags().String(settings.FlagPassphraseFile, "", "file that holds the passphrase")
		cmd.AddCommand(c)
	}
	return cmd
}

func rollbackCmd() *cobra.Command {
	var height uint64
	var syncNode bool
	cmd := &cobra.Command{
		Use: "rollback", Short: "Forget the last block, or all above --height",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(cmd)
			if err != nil {
				return err
			}
			store, err := chainstore.Open(filepath.Join(cfg.DataDir(), node.StoreDir))
			if err != nil {
				return err
			}
			defer func() {
				if err := store.Close(); err != nil {
					fmt.Printf("Warning: failed to close evolve database: %v\n", err)
				}
			}()
			if height == 0 {
				height = store.Height() - 1
			}
			application, err := app.Open(filepath.Join(cfg.DataDir(), node.AppDir))
			if err != nil {
				return err
			}
			if err := store.Rollback(height, !syncNode); err != nil {
				return fmt.Errorf("failed to rollback ev-node state: %w", err)
			}
			if err := application.Rollback(height); err != nil {
				return fmt.Errorf("failed to rollback executor state: %w", err)
			}
			fmt.Printf("Rolled back ev-node state to height %d\n", height)
			if syncNode {
				fmt.Println("Restart the node with the `--evnode.clear_cache` flag")
			}
			return nil
		},
	}
	cmd.Flags().Uint64Var(&height, "height", 0, "last height that stays")
	cmd.Flags().BoolVar(&syncNode, "sync-node", false, "the node only follows")
	return cmd
}
