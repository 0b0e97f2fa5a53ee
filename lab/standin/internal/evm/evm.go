// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package evm drives an execution client, one for this node alone: blocks over the Engine API, transactions out of the
// client's own pool.
//
// What an upstream client takes as the transactions of a block, geth builds from a list with testing_buildBlockV1. That
// call refuses any other parent than the client's head, so two nodes that drive one client stop each other.
package evm

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/sha3"
)

// How far behind the newest block the tags safe and finalized are.
const (
	safeLag      = 2
	finalizedLag = 3
)

const noHash = "0x0000000000000000000000000000000000000000000000000000000000000000"

// Settings are the flags of the application.
type Settings struct {
	EthURL, EngineURL, SecretFile, GenesisHash, FeeRecipient string
}

// EVM is the execution client of this node.
type EVM struct {
	settings Settings
	eth      *client
	engine   *client
	log      zerolog.Logger

	mu   sync.Mutex
	seen map[string]bool
}

// Open reads the secret; the client is not asked before Init or Reconcile.
func Open(settings Settings, log zerolog.Logger) (*EVM, error) {
	text, err := os.ReadFile(settings.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("failed to read JWT secret file: %w", err)
	}
	secret, err := hex.DecodeString(strings.TrimPrefix(strings.TrimSpace(string(text)), "0x"))
	if err != nil || len(secret) != 32 {
		return nil, errors.New("failed to decode JWT secret: expected 32 bytes in hex")
	}
	return &EVM{
		settings: settings, eth: newClient(settings.EthURL, nil), engine: newClient(settings.EngineURL, secret),
		log: log.With().Str("component", "engine_client").Logger(), seen: map[string]bool{},
	}, nil
}

type block struct {
	Number    string `json:"number"`
	Hash      string `json:"hash"`
	StateRoot string `json:"stateRoot"`
	Timestamp string `json:"timestamp"`
}

func (b *block) height() uint64 { return number(b.Number) }

func number(text string) uint64 {
	found, _ := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 64)
	return found
}

func (e *EVM) block(which string) (*block, error) {
	var found *block
	if err := e.eth.call("eth_getBlockByNumber", &found, which, false); err != nil {
		return nil, err
	}
	if found == nil {
		return nil, fmt.Errorf("execution client has no block %s", which)
	}
	return found, nil
}

// Height is the number of the client's newest block.
func (e *EVM) Height() (uint64, error) {
	head, err := e.block("latest")
	if err != nil {
		return 0, err
	}
	return head.height(), nil
}

// Init checks that the client has the genesis that was named, and returns its state root.
func (e *EVM) Init() ([]byte, error) {
	first, err := e.block("0x0")
	if err != nil {
		return nil, err
	}
	if e.settings.GenesisHash != "" && !strings.EqualFold(first.Hash, e.settings.GenesisHash) {
		return nil, fmt.Errorf("execution client has genesis %s, expected %s", first.Hash, e.settings.GenesisHash)
	}
	return root(first.StateRoot)
}

func root(text string) ([]byte, error) { return hex.DecodeString(strings.TrimPrefix(text, "0x")) }

// envelope is what the client built. The payload goes back to it as it came.
type envelope struct {
	Payload  payload  `json:"executionPayload"`
	Requests []string `json:"executionRequests"`
}

type payload struct {
	raw   []byte
	facts struct {
		BlockHash string `json:"blockHash"`
		StateRoot string `json:"stateRoot"`
	}
}

func (e *EVM) build(parent *block, time uint64, txs [][]byte) (*envelope, error) {
	attributes := map[string]any{
		// A second has one block at most; which one is the same for everybody who knows the parent.
		"timestamp":             "0x" + strconv.FormatUint(max(time/1e9, number(parent.Timestamp)+1), 16),
		"prevRandao":            noHash,
		"suggestedFeeRecipient": e.settings.FeeRecipient,
		"withdrawals":           []any{},
		"parentBeaconBlockRoot": noHash,
	}
	listed := make([]string, len(txs))
	for i, tx := range txs {
		listed[i] = "0x" + hex.EncodeToString(tx)
	}
	built := &envelope{}
	return built, e.eth.call("testing_buildBlockV1", built, parent.Hash, attributes, listed, nil)
}

// Execute makes the block of a height on top of the client's head, and returns its state root. A block that the client
// has already is not made again.
func (e *EVM) Execute(height, time uint64, txs [][]byte) ([]byte, error) {
	head, err := e.block("latest")
	if err != nil {
		return nil, err
	}
	if head.height() >= height {
		e.log.Warn().Uint64("height", height).Uint64("execution", head.height()).Msg("execution client has this block already, making it again")
		if err := e.Rollback(height - 1); err != nil {
			return nil, err
		}
		if head, err = e.block("latest"); err != nil {
			return nil, err
		}
	}
	if head.height() != height-1 {
		return nil, fmt.Errorf("execution client is at %d, cannot execute block %d", head.height(), height)
	}
	built, err := e.build(head, time, txs)
	if err != nil {
		return nil, err
	}
	var status struct{ Status, ValidationError string }
	requests := built.Requests
	if requests == nil {
		requests = []string{}
	}
	if err := e.engine.call("engine_newPayloadV4", &status, built.Payload, []string{}, noHash, requests); err != nil {
		return nil, err
	}
	if status.Status != "VALID" {
		return nil, fmt.Errorf("execution client calls block %d %s %s", height, status.Status, status.ValidationError)
	}
	if err := e.choose(height, built.Payload.facts.BlockHash); err != nil {
		return nil, err
	}
	return root(built.Payload.facts.StateRoot)
}

// choose makes a block the client's head.
func (e *EVM) choose(height uint64, hash string) error {
	state := map[string]string{"headBlockHash": hash}
	for name, lag := range map[string]uint64{"safeBlockHash": safeLag, "finalizedBlockHash": finalizedLag} {
		state[name] = noHash
		if height > lag {
			old, err := e.block("0x" + strconv.FormatUint(height-lag, 16))
			if err != nil {
				return err
			}
			state[name] = old.Hash
		}
	}
	var answer struct {
		PayloadStatus struct{ Status string }
	}
	if err := e.engine.call("engine_forkchoiceUpdatedV3", &answer, state, nil); err != nil {
		return err
	}
	if answer.PayloadStatus.Status != "VALID" {
		return fmt.Errorf("execution client answers the choice of block %d with %s", height, answer.PayloadStatus.Status)
	}
	return nil
}

// Filter returns those of some transactions, in their order, that can be in the next block.
func (e *EVM) Filter(time uint64, txs [][]byte) ([][]byte, error) {
	if len(txs) == 0 {
		return nil, nil
	}
	head, err := e.block("latest")
	if err != nil {
		return nil, err
	}
	if _, err := e.build(head, time, txs); err == nil {
		return txs, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var fit [][]byte
	for _, tx := range txs {
		tried := append(append([][]byte{}, fit...), tx)
		if _, err := e.build(head, time, tried); err == nil {
			fit = tried
		} else {
			// One that only came too early stays in the pool, and is taken again.
			delete(e.seen, keccak(tx))
		}
	}
	return fit, nil
}

// Take returns the transactions that came into the client's pool since the last time, by sender and nonce.
func (e *EVM) Take() [][]byte {
	var pool struct {
		Pending map[string]map[string]struct{ Hash string }
	}
	if err := e.eth.call("txpool_content", &pool); err != nil {
		e.log.Warn().Err(err).Msg("the pool cannot be read")
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var taken [][]byte
	for _, sender := range sorted(pool.Pending) {
		for _, nonce := range sorted(pool.Pending[sender]) {
			hash := pool.Pending[sender][nonce].Hash
			if e.seen[hash] {
				continue
			}
			var raw string
			if err := e.eth.call("eth_getRawTransactionByHash", &raw, hash); err != nil || raw == "" || raw == "0x" {
				continue
			}
			tx, err := hex.DecodeString(strings.TrimPrefix(raw, "0x"))
			if err != nil || !strings.EqualFold(hash, keccak(tx)) {
				continue
			}
			e.seen[hash] = true
			taken = append(taken, tx)
		}
	}
	return taken
}

// sorted returns names in their order, shorter ones first: that is the order of numbers, too.
func sorted[V any](entries map[string]V) []string {
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool {
		if len(names[i]) != len(names[j]) {
			return len(names[i]) < len(names[j])
		}
		return names[i] < names[j]
	})
	return names
}

func keccak(data []byte) string {
	sum := sha3.NewLegacyKeccak256()
	sum.Write(data)
	return "0x" + hex.EncodeToString(sum.Sum(nil))
}

// Rollback takes the client back to a height.
func (e *EVM) Rollback(to uint64) error {
	return e.eth.call("debug_setHead", nil, "0x"+strconv.FormatUint(to, 16))
}

// Reconcile brings the client to the height of the node's own store: blocks that it lacks are executed, blocks that
// only it has are lost.
func (e *EVM) Reconcile(height uint64, read func(uint64) (time uint64, txs [][]byte, err error)) error {
	own, err := e.Height()
	if err != nil {
		return err
	}
	if own > height {
		e.log.Warn().Uint64("target_height", height).Uint64("exec_layer_height", own).
			Msg("execution layer ahead, attempting automatic rollback")
		return e.Rollback(height)
	}
	if own < height {
		e.log.Info().Uint64("target_height", height).Uint64("exec_layer_height", own).
			Msg("execution layer is behind, syncing blocks")
	}
	for next := own + 1; next <= height; next++ {
		time, txs, err := read(next)
		if err != nil {
			return err
		}
		if _, err := e.Execute(next, time, txs); err != nil {
			return fmt.Errorf("failed to replay block %d: %w", next, err)
		}
	}
	return nil
}
