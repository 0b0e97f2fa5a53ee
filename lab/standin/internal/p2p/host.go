// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package p2p connects nodes of one chain over TCP: mutual proof of identity, blocks on request, new blocks pushed to
// everyone who is connected, and introduction of peers to each other.
package p2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"evnode.dev/standin/internal/identity"
	"evnode.dev/standin/internal/ledger"
)

const (
	dialTime       = 5 * time.Second
	startTime      = time.Second
	requestTime    = 5 * time.Second
	firstReconnect = time.Second
	maxReconnect   = 30 * time.Second
)

// Source answers the requests of peers.
type Source interface {
	// Block returns a stored block.
	Block(height uint64) (*ledger.Block, error)
	// Head returns the height of the last block and the height up to which the DA layer has blocks.
	Head() (height, da uint64)
}

// Receiver takes a pushed block and says whether it was new.
type Receiver func(block *ledger.Block, da uint64) bool

// Host is a node's end of the network. Start it once; roles attach and detach their Source and Receiver.
type Host struct {
	key    *identity.Key
	chain  string
	listen string
	seeds  []Address
	log    zerolog.Logger
	rawSds string

	mu       sync.Mutex
	conns    map[string][]*conn
	source   Source
	receiver Receiver
	addrs    []Address
	port     int
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

// New prepares a host; nothing is opened yet.
func New(listen, peers, chain string, key *identity.Key, log zerolog.Logger) *Host {
	return &Host{key: key, chain: chain, listen: listen, rawSds: peers, log: log, conns: map[string][]*conn{}}
}

// ParsePeers splits a list at its commas. Entries that are not exact multiaddresses with a peer are logged and skipped.
func ParsePeers(list string, log zerolog.Logger) []Address {
	if list == "" {
		return nil
	}
	var out []Address
	for _, entry := range strings.Split(list, ",") {
		a, err := ParseAddress(entry)
		if err != nil {
			log.Error().Str("address", entry).Err(err).Msg("failed to parse peer")
			continue
		}
		if a.Peer == "" {
			log.Error().Str("address", entry).Err(errors.New("invalid p2p multiaddr")).Msg("failed to create addr info for peer")
			continue
		}
		out = append(out, a)
	}
	return out
}

// Start listens, and dials the configured peers once.
func (h *Host) Start(ctx context.Context) error {
	a, err := ParseAddress(h.listen)
	if err != nil {
		return err
	}
	if h.listener, err = net.Listen("tcp", a.endpoint()); err != nil {
		return fmt.Errorf("failed to listen on any addresses: [%w]", err)
	}
	h.ctx, h.cancel = context.WithCancel(ctx)
	a.Port = h.listener.Addr().(*net.TCPAddr).Port
	h.port = a.Port
	h.addrs = listenAddresses(a)
	for _, one := range h.Addresses() {
		h.log.Info().Str("address", one).Msg("listening on address")
	}
	h.wg.Add(1)
	go h.accept()
	h.seeds = ParsePeers(h.rawSds, h.log)
	if len(h.seeds) == 0 {
		h.log.Info().Msg("no peers - only listening for connections")
		return nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var all sync.WaitGroup
		for _, seed := range h.seeds {
			all.Add(1)
			go func() {
				defer all.Done()
				if _, err := h.dial(seed); err != nil {
					h.log.Debug().Str("peer", seed.Peer).Err(err).Msg("failed to connect to peer")
				}
			}()
		}
		all.Wait()
	}()
	limit := time.NewTimer(startTime)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
	case <-ctx.Done():
	}
	return nil
}

// Close ends all connections.
func (h *Host) Close() error {
	if h.cancel == nil {
		return nil
	}
	h.cancel()
	err := h.listener.Close()
	h.mu.Lock()
	var all []*conn
	for _, list := range h.conns {
		all = append(all, list...)
	}
	h.mu.Unlock()
	for _, c := range all {
		c.close()
	}
	h.wg.Wait()
	return err
}

// ID is the host's peer id.
func (h *Host) ID() string { return h.key.PeerID() }

// Addresses are the multiaddresses under which the host listens, with its peer id.
func (h *Host) Addresses() []string {
	var out []string
	for _, a := range h.addrs {
		out = append(out, a.Multiaddr()+"/p2p/"+h.ID())
	}
	return out
}

// Attach sets who answers requests and who takes pushed blocks; nil means that the protocol is not spoken.
func (h *Host) Attach(s Source, r Receiver) {
	h.mu.Lock()
	h.source, h.receiver = s, r
	h.mu.Unlock()
}

// Connected returns the peers that are connected now, with the address of each.
func (h *Host) Connected() []Address {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Address
	for _, list := range h.conns {
		out = append(out, list[len(list)-1].remote)
	}
	return out
}

func (h *Host) accept() {
	defer h.wg.Done()
	for {
		c, err := h.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			if _, err := h.join(c, ""); err != nil {
				_ = c.Close()
				h.log.Debug().Str("remote", c.RemoteAddr().String()).Err(err).Msg("connection refused")
			}
		}()
	}
}

// dial returns a connection to a peer, making one if there is none.
func (h *Host) dial(a Address) (*conn, error) {
	if c := h.connTo(a.Peer); c != nil {
		return c, nil
	}
	if a.Peer == h.ID() {
		return nil, errors.New("dial to self attempted")
	}
	d := net.Dialer{Timeout: dialTime}
	c, err := d.DialContext(h.ctx, "tcp", a.endpoint())
	if err != nil {
		return nil, fmt.Errorf("failed to dial %s: %w", a.Peer, err)
	}
	joined, err := h.join(c, a.Peer)
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("failed to dial %s: %w", a.Peer, err)
	}
	return joined, nil
}

func (h *Host) connTo(peer string) *conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	if list := h.conns[peer]; len(list) > 0 {
		return list[len(list)-1]
	}
	return nil
}

func (h *Host) join(raw net.Conn, want string) (*conn, error) {
	c, r, err := handshake(raw, h.key, h.chain, h.port, want)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	if h.ctx.Err() != nil {
		h.mu.Unlock()
		return nil, h.ctx.Err()
	}
	first := len(h.conns[c.peer]) == 0
	h.conns[c.peer] = append(h.conns[c.peer], c)
	h.wg.Add(2)
	h.mu.Unlock()
	go h.read(c, r)
	go h.ping(c)
	if first {
		h.introduce()
	}
	return c, nil
}

// introduce tells everyone who is connected here.
func (h *Host) introduce() {
	var list []string
	for _, a := range h.Connected() {
		list = append(list, a.Multiaddr()+"/p2p/"+a.Peer)
	}
	h.each("", func(c *conn) { _ = c.send(&message{Type: "peers", Peers: list}) })
}

func (h *Host) each(except string, f func(*conn)) {
	h.mu.Lock()
	var all []*conn
	for peer, list := range h.conns {
		if peer != except {
			all = append(all, list[len(list)-1])
		}
	}
	h.mu.Unlock()
	for _, c := range all {
		f(c)
	}
}

func (h *Host) ping(c *conn) {
	defer h.wg.Done()
	t := time.NewTicker(pingEvery)
	defer t.Stop()
	for {
		select {
		case <-c.closed:
			return
		case <-t.C:
			if c.send(&message{Type: "ping"}) != nil {
				return
			}
		}
	}
}

func (h *Host) read(c *conn, r *bufio.Reader) {
	defer h.wg.Done()
	defer h.left(c)
	for {
		_ = c.net.SetReadDeadline(time.Now().Add(silenceLimit))
		m := &message{}
		if err := readFrame(r, m); err != nil {
			return
		}
		switch m.Type {
		case "answer":
			c.answered(m)
		case "request":
			if c.send(h.answer(m)) != nil {
				return
			}
		case "block":
			h.pushed(c, m)
		case "peers":
			for _, s := range m.Peers {
				if a, err := ParseAddress(s); err == nil && a.Peer != h.ID() && h.connTo(a.Peer) == nil {
					go func() {
						if _, err := h.dial(a); err != nil && h.ctx.Err() == nil {
							h.log.Error().Str("peer", a.Peer).Err(err).Msg("failed to connect to peer")
						}
					}()
				}
			}
		}
	}
}

func (h *Host) left(c *conn) {
	c.close()
	h.mu.Lock()
	list := h.conns[c.peer]
	for i := range list {
		if list[i] == c {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) > 0 {
		h.conns[c.peer] = list
	} else {
		delete(h.conns, c.peer)
	}
	gone := len(list) == 0 && h.ctx.Err() == nil
	h.mu.Unlock()
	if !gone {
		return
	}
	for _, seed := range h.seeds {
		if seed.Peer == c.peer {
			h.log.Warn().Str("peer", seed.Peer).Msg("disconnected from seed peer, scheduling reconnect")
			go h.reconnect(seed)
			return
		}
	}
}

func (h *Host) reconnect(seed Address) {
	for wait := firstReconnect; h.ctx.Err() == nil; wait = min(wait*2, maxReconnect) {
		if h.connTo(seed.Peer) != nil {
			return
		}
		if _, err := h.dial(seed); err == nil {
			h.log.Info().Str("peer", seed.Peer).Msg("reconnected to seed peer")
			return
		}
		select {
		case <-h.ctx.Done():
		case <-time.After(wait):
		}
	}
}

func (h *Host) answer(m *message) *message {
	h.mu.Lock()
	s := h.source
	h.mu.Unlock()
	out := &message{Type: "answer", ID: m.ID}
	if s == nil {
		out.Error = fmt.Sprintf("failed to negotiate protocol: protocols not supported: [/%s-headerSync/header-ex]", h.chain)
		return out
	}
	out.Height, out.DA = s.Head()
	if m.Height > 0 {
		b, err := s.Block(m.Height)
		if err != nil {
			out.Error = "header: not found"
			return out
		}
		out.Block = b.Bytes()
	}
	return out
}

func (h *Host) pushed(c *conn, m *message) {
	h.mu.Lock()
	r := h.receiver
	h.mu.Unlock()
	if r == nil {
		return
	}
	b, err := ledger.Decode(m.Block)
	if err != nil {
		h.log.Debug().Str("peer", c.peer).Err(err).Msg("unreadable block was pushed")
		return
	}
	if r(b, m.DA) {
		h.each(c.peer, func(other *conn) { _ = other.send(m) })
	}
}

// Publish pushes a block to all connected peers.
func (h *Host) Publish(b *ledger.Block, da uint64) {
	m := &message{Type: "block", Block: b.Bytes(), DA: da}
	h.each("", func(c *conn) { _ = c.send(m) })
}

// Answer is what a peer said.
type Answer struct {
	Height uint64 // its last block
	DA     uint64
	Block  *ledger.Block // nil if only the head was asked for
}

// Ask asks one peer for a block, or with height 0 for its head; an unconnected peer is dialled.
func (h *Host) Ask(a Address, height uint64) (*Answer, error) {
	c, err := h.dial(a)
	if err != nil {
		return nil, err
	}
	m, err := c.ask(&message{Type: "request", Height: height}, requestTime)
	if err != nil {
		return nil, err
	}
	out := &Answer{Height: m.Height, DA: m.DA}
	if height > 0 {
		if out.Block, err = ledger.Decode(m.Block); err != nil {
			return nil, fmt.Errorf("unreadable block from %s: %w", a.Peer, err)
		}
	}
	return out, nil
}

// AskAny asks all peers at once and returns the first good answer.
func (h *Host) AskAny(ctx context.Context, peers []Address, height uint64) (*Answer, error) {
	if len(peers) == 0 {
		return nil, errors.New("no trusted peers")
	}
	type result struct {
		answer *Answer
		err    error
	}
	results := make(chan result, len(peers))
	for _, p := range peers {
		go func() {
			answer, err := h.Ask(p, height)
			results <- result{answer, err}
		}()
	}
	var last error
	for range peers {
		select {
		case r := <-results:
			if r.err == nil {
				return r.answer, nil
			}
			last = r.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, last
}
