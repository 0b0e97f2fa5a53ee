// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package node runs one process of a chain from the opening of its files to a clean stop.
package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"evnode.dev/standin/internal/app"
	"evnode.dev/standin/internal/chainstore"
	"evnode.dev/standin/internal/engine"
	"evnode.dev/standin/internal/evm"
	"evnode.dev/standin/internal/genesis"
	"evnode.dev/standin/internal/identity"
	"evnode.dev/standin/internal/ledger"
	"evnode.dev/standin/internal/p2p"
	"evnode.dev/standin/internal/raftnode"
	"evnode.dev/standin/internal/settings"
	"evnode.dev/standin/internal/signer"
)

const (
	resignTime = 3 * time.Second
	stopTime   = 10 * time.Second
)

// Directories of the databases, below the data directory.
const (
	StoreDir = "standin"
	AppDir   = "executor"
)

// NewLogger logs to stderr in the configured format; an unknown level counts as info.
func NewLogger(cfg *settings.Config) zerolog.Logger {
	log := zerolog.New(os.Stderr)
	if cfg.Log.Format != "json" {
		log = zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr})
	}
	level, err := zerolog.ParseLevel(cfg.Log.Level)
	if err != nil {
		level = zerolog.InfoLevel
	}
	zerolog.SetGlobalLevel(level)
	return log.With().Timestamp().Str("component", "main").Logger()
}

// Options are what the command line says beside the node's own settings. PassphraseFile is read only by a node that
// signs; with a secret file for an execution client there is no key-value application.
type Options struct {
	PassphraseFile, KVEndpoint string
	EVM                        evm.Settings
}

// executor opens the application.
func executor(cfg *settings.Config, options Options, log zerolog.Logger) (engine.Executor, error) {
	if options.EVM.SecretFile != "" {
		return evm.Open(options.EVM, log)
	}
	if options.KVEndpoint == "" {
		log.Info().Msg("KV endpoint flag not set, using default from http_server")
	}
	application, err := app.Open(filepath.Join(cfg.DataDir(), AppDir))
	if err != nil || options.KVEndpoint == "" {
		return application, err
	}
	if err := application.Serve(options.KVEndpoint); err != nil {
		return nil, fmt.Errorf("failed to start KV executor HTTP server: %w", err)
	}
	log.Info().Str("endpoint", options.KVEndpoint).Msg("KV executor HTTP server started")
	return application, nil
}

// Run opens everything and runs until a signal or a failure ends it.
func Run(cfg *settings.Config, options Options, log zerolog.Logger) error {
	application, err := executor(cfg, options, log)
	if err != nil {
		return err
	}
	log.Info().Str("headerNamespace", settings.NamespaceHex(cfg.DA.Namespace)).
		Str("dataNamespace", settings.NamespaceHex(cfg.DataNamespace())).Msg("namespaces")
	key, err := identity.Load(cfg.ConfigDir())
	if err != nil {
		return err
	}
	store, err := chainstore.Open(filepath.Join(cfg.DataDir(), StoreDir))
	if err != nil {
		return err
	}
	gen, err := genesis.Load(genesis.Path(cfg.Home))
	if err != nil {
		return fmt.Errorf("failed to load genesis: %w", err)
	}
	if gen.DAStartHeight == 0 && !cfg.Node.Aggregator {
		log.Warn().Msg("da_start_height is not set in genesis.json, ask your chain developer")
	}
	env := &engine.Env{Config: cfg, Genesis: gen, Store: store, App: application, Rules: &ledger.Rules{}, Log: log}
	if cfg.Node.Aggregator || cfg.Node.Promotable {
		if env.Signer, err = openSigner(cfg, options.PassphraseFile); err != nil {
			return err
		}
	}
	if address := cfg.DAAddress(); address == "" {
		log.Info().Msg("DA address is not configured; syncing through P2P only")
	} else {
		log.Debug().Str("address", address).Msg("DA layer is taken as given; submissions always succeed")
	}
	env.Host = p2p.New(cfg.P2P.ListenAddress, cfg.P2P.Peers, gen.ChainID, key, log)
	n := &process{env: env, log: log}
	if err := n.build(); err != nil {
		return fmt.Errorf("failed to create node: %w", err)
	}
	return n.supervise()
}

func openSigner(cfg *settings.Config, passphraseFile string) (*signer.Signer, error) {
	if cfg.Signer.Type != "file" {
		return nil, fmt.Errorf("initialize signer via factory: signer type %q is not available in this binary", cfg.Signer.Type)
	}
	if passphraseFile == "" {
		return nil, errors.New("passphrase file must be provided via --" + settings.FlagPassphraseFile)
	}
	phrase, err := signer.ReadPassphrase(passphraseFile)
	if err != nil {
		return nil, err
	}
	s, err := signer.Open(cfg.Signer.Path, phrase, false)
	if err != nil {
		return nil, fmt.Errorf("initialize signer via factory: %w", err)
	}
	return s, nil
}

type elector interface {
	Run(ctx context.Context) error
}

type process struct {
	env     *engine.Env
	log     zerolog.Logger
	elector elector
}

// build opens the Raft member, whose listener answers from now on, and chooses who decides about the role.
func (n *process) build() error {
	cfg := n.env.Config
	if cfg.Node.Aggregator && cfg.Raft.Enable {
		member, err := raftnode.Open(cfg, n.log)
		if err != nil {
			return fmt.Errorf("failed to initialize raft node: create raft node: %w", err)
		}
		n.log.Info().Str("node_id", cfg.Raft.NodeID).Str("addr", cfg.Raft.Addr).Bool("bootstrap", cfg.Raft.Bootstrap).
			Msg("initialized raft node")
		n.env.Raft = member
		n.elector = raftnode.NewElector(n.log, member,
			func() (raftnode.Role, error) { return engine.NewLeader(n.env), nil },
			func() (raftnode.Role, error) { return engine.NewFollower(n.env), nil })
		return nil
	}
	if cfg.Raft.Enable {
		return errors.New("raft config must be used in sequencer setup only")
	}
	if cfg.Node.Aggregator {
		n.elector = engine.NewLeader(n.env)
	} else {
		n.elector = engine.NewFollower(n.env)
	}
	return nil
}

// run works until ctx ends or the role fails, then stops everything in order. The store is closed last.
func (n *process) run(parent context.Context) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	if err := n.env.Host.Start(ctx); err != nil {
		return fmt.Errorf("start p2p: %w", err)
	}
	defer func() { _ = n.env.Host.Close() }()
	if n.env.Raft != nil {
		if err := n.env.Raft.Start(); err != nil {
			return fmt.Errorf("error while starting leader election: %w", err)
		}
	}
	failure := n.elector.Run(ctx)
	if errors.Is(failure, context.Canceled) {
		failure = nil
	}
	cancel()
	n.log.Info().Msg("halting full node and its sub services...")
	var stopping error
	if n.env.Raft != nil {
		if err := n.env.Raft.Stop(); err != nil {
			stopping = errors.Join(stopping, fmt.Errorf("stopping leader election: %w", err))
		}
	}
	if err := n.env.Store.Close(); err != nil {
		stopping = errors.Join(stopping, fmt.Errorf("closing store: %w", err))
	}
	if stopping != nil {
		n.log.Error().Err(stopping).Msg("error during shutdown")
	} else {
		n.log.Info().Msg("full node halted successfully")
	}
	if failure != nil {
		return failure
	}
	if stopping != nil {
		return stopping
	}
	return ctx.Err()
}

// supervise runs the node and handles signals: first leadership is handed over, then the node is stopped.
func (n *process) supervise() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- n.run(ctx) }()
	quit := make(chan os.Signal, 1)
	signal.Notify(quit, os.Interrupt, syscall.SIGTERM)
	select {
	case err := <-ended:
		if err != nil && !errors.Is(err, context.Canceled) {
			n.log.Error().Err(err).Msg("node error")
		}
		return err
	case <-quit:
	}
	n.log.Info().Msg("shutting down node...")
	limit, done := context.WithTimeout(context.Background(), resignTime)
	defer done()
	switch err := n.env.Raft.Resign(limit); {
	case err == nil:
		n.log.Info().Msg("leadership resigned before shutdown")
	case errors.Is(err, context.DeadlineExceeded):
		n.log.Warn().Msg("leadership resign timed out")
	default:
		n.log.Warn().Err(err).Msg("leadership resign on shutdown failed")
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil && !errors.Is(err, context.Canceled) {
			n.log.Error().Err(err).Msg("Error during shutdown")
			return err
		}
		return nil
	case <-time.After(stopTime):
		return errors.New("shutdown timeout exceeded")
	}
}
