// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package app is the application of the chain: a key-value map filled by transactions "key=value".
package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"evnode.dev/standin/internal/kvdb"
)

const (
	queueLimit = 10000
	prefix     = "/height/"
)

// App keeps its state in a database of its own, which nobody closes: its files stay at their apparent size.
type App struct {
	db *kvdb.DB

	mu                         sync.Mutex
	waiting                    [][]byte
	root                       []byte
	injected, executed, blocks uint64
}

// Open opens the application's database in dir.
func Open(dir string) (*App, error) {
	db, err := kvdb.Open(dir)
	if err != nil {
		return nil, err
	}
	a := &App{db: db}
	a.root = a.computeRoot()
	return a, nil
}

// Root is the application hash. It depends on every key and on the height at which it was written.
func (a *App) Root() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.root
}

func (a *App) computeRoot() []byte {
	var b bytes.Buffer
	for _, e := range a.db.Scan(prefix) {
		fmt.Fprintf(&b, "%s:%s;", e.Key, e.Value)
	}
	return b.Bytes()
}

// Init prepares the first state and returns its hash.
func (a *App) Init() ([]byte, error) {
	if root, ok := a.db.Get("genesis"); ok {
		return root, nil
	}
	b := &kvdb.Batch{}
	root := a.Root()
	b.Put("genesis", root)
	return root, a.db.Commit(b)
}

// Filter returns the transactions that can be in the next block: what this application does not understand it ignores.
func (a *App) Filter(_ uint64, txs [][]byte) ([][]byte, error) { return txs, nil }

// Reconcile has nothing to do: the application's database goes with the node's own.
func (a *App) Reconcile(uint64, func(uint64) (uint64, [][]byte, error)) error { return nil }

// Execute applies the transactions of a block and returns the new hash. Executing a block twice changes nothing.
func (a *App) Execute(height, _ uint64, txs [][]byte) ([]byte, error) {
	b := &kvdb.Batch{}
	valid := uint64(0)
	for _, tx := range txs {
		key, value, ok := strings.Cut(string(tx), "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || key == "" {
			continue
		}
		b.Put(fmt.Sprintf("%s%d/%s", prefix, height, key), []byte(value))
		valid++
	}
	if err := a.db.Commit(b); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if valid > 0 {
		a.root = a.computeRoot()
	}
	a.executed += valid
	a.blocks++
	return a.root, nil
}

// Rollback forgets everything above a height.
func (a *App) Rollback(to uint64) error {
	if to == 0 {
		return errors.New("cannot rollback to height 0: invalid height")
	}
	b := &kvdb.Batch{}
	for _, e := range a.db.Scan(prefix) {
		if h, _, ok := split(e.Key); ok && h > to {
			b.Delete(e.Key)
		}
	}
	return a.db.Commit(b)
}

// Close closes the database; only commands do this, a running node never does.
func (a *App) Close() error { return a.db.Close() }

func split(stored string) (height uint64, key string, ok bool) {
	h, key, ok := strings.Cut(strings.TrimPrefix(stored, prefix), "/")
	if !ok {
		return 0, "", false
	}
	height, err := strconv.ParseUint(h, 10, 64)
	return height, key, err == nil
}

// Value returns the newest value of a key.
func (a *App) Value(key string) (string, bool) {
	var newest uint64
	var value string
	found := false
	for _, e := range a.db.Scan(prefix) {
		if h, k, ok := split(e.Key); ok && k == key && (!found || h > newest) {
			newest, value, found = h, string(e.Value), true
		}
	}
	return value, found
}

// Inject adds a transaction to those that wait in memory. When too many wait it is dropped.
func (a *App) Inject(tx []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.injected++
	if len(a.waiting) >= queueLimit {
		fmt.Println("Warning: Transaction channel buffer full. Dropping transaction.")
		return
	}
	a.waiting = append(a.waiting, tx)
}

// Take returns the waiting transactions and forgets them.
func (a *App) Take() [][]byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	txs := a.waiting
	a.waiting = nil
	return txs
}

// Serve answers the application's HTTP requests on address until the process ends.
func (a *App) Serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Printf("KV Executor HTTP server starting on %s\n", address)
	mux := http.NewServeMux()
	mux.HandleFunc("/tx", a.handleTx)
	mux.HandleFunc("/kv", a.handleKV)
	mux.HandleFunc("/store", a.handleStore)
	mux.HandleFunc("/stats", a.handleStats)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	return nil
}

func allowed(w http.ResponseWriter, r *http.Request, method string) bool {
	if r.Method == method {
		return true
	}
	http.Error(w, "Method not allowed", http.StatusMethodNotAllowed)
	return false
}

func (a *App) handleTx(w http.ResponseWriter, r *http.Request) {
	if !allowed(w, r, http.MethodPost) {
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		http.Error(w, "Failed to read request body", http.StatusBadRequest)
		return
	}
	if len(body) == 0 {
		http.Error(w, "Empty transaction", http.StatusBadRequest)
		return
	}
	a.Inject(body)
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, "Transaction accepted")
}

func (a *App) handleKV(w http.ResponseWriter, r *http.Request) {
	if !allowed(w, r, http.MethodGet) {
		return
	}
	key := r.URL.Query().Get("key")
	if key == "" {
		http.Error(w, "Missing key parameter", http.StatusBadRequest)
		return
	}
	value, ok := a.Value(key)
	if !ok {
		http.Error(w, "Key not found", http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, value)
}

func (a *App) handleStore(w http.ResponseWriter, r *http.Request) {
	if !allowed(w, r, http.MethodGet) {
		return
	}
	all := map[string]string{}
	for _, e := range a.db.Scan(prefix) {
		all[e.Key] = string(e.Value)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(all)
}

func (a *App) handleStats(w http.ResponseWriter, r *http.Request) {
	if !allowed(w, r, http.MethodGet) {
		return
	}
	a.mu.Lock()
	stats := map[string]uint64{"injected_txs": a.injected, "executed_txs": a.executed, "blocks_produced": a.blocks}
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(stats)
}
