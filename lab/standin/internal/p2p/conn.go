// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package p2p

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"evnode.dev/standin/internal/identity"
)

const (
	maxFrame      = 16 << 20
	handshakeTime = 5 * time.Second
	pingEvery     = 5 * time.Second
	silenceLimit  = 15 * time.Second
)

type hello struct {
	Public []byte `json:"pub"`
	Nonce  []byte `json:"nonce"`
	Chain  string `json:"chain"`
	Port   int    `json:"port"`
}

type message struct {
	Type   string          `json:"t"` // request, answer, block, peers, ping
	ID     uint64          `json:"id,omitempty"`
	Height uint64          `json:"h,omitempty"` // request: 0 asks for the head only
	DA     uint64          `json:"da,omitempty"`
	Block  json.RawMessage `json:"b,omitempty"`
	Error  string          `json:"e,omitempty"`
	Peers  []string        `json:"p,omitempty"`
}

type conn struct {
	net    net.Conn
	peer   string
	remote Address // where the peer can be dialled

	writing sync.Mutex
	mu      sync.Mutex
	nextID  uint64
	open    map[uint64]chan *message
	closed  chan struct{}
	once    sync.Once
}

func writeFrame(w io.Writer, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(raw) > maxFrame {
		return fmt.Errorf("message of %d bytes is too long", len(raw))
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...))
	return err
}

func readFrame(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxFrame {
		return fmt.Errorf("message of %d bytes is too long", size)
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(r, raw); err != nil {
		return err
	}
	return json.Unmarshal(raw, v)
}

// handshake proves both identities: each side signs the other's nonce together with both keys.
func handshake(c net.Conn, key *identity.Key, chain string, port int, want string) (*conn, *bufio.Reader, error) {
	_ = c.SetDeadline(time.Now().Add(handshakeTime))
	mine := hello{Public: key.Public, Nonce: make([]byte, 32), Chain: chain, Port: port}
	_, _ = rand.Read(mine.Nonce)
	if err := writeFrame(c, mine); err != nil {
		return nil, nil, err
	}
	r := bufio.NewReaderSize(c, 64<<10)
	var theirs hello
	if err := readFrame(r, &theirs); err != nil {
		return nil, nil, err
	}
	if len(theirs.Public) != ed25519.PublicKeySize || len(theirs.Nonce) != 32 {
		return nil, nil, errors.New("peer sent no usable identity")
	}
	proof := func(nonce, prover, verifier []byte) []byte {
		text := append([]byte("evnode-standin peer "), nonce...)
		return append(append(text, prover...), verifier...)
	}
	if err := writeFrame(c, ed25519.Sign(key.Private, proof(theirs.Nonce, mine.Public, theirs.Public))); err != nil {
		return nil, nil, err
	}
	var signature []byte
	if err := readFrame(r, &signature); err != nil {
		return nil, nil, err
	}
	peer := identity.PeerID(theirs.Public)
	if !ed25519.Verify(theirs.Public, proof(mine.Nonce, theirs.Public, mine.Public), signature) {
		return nil, nil, fmt.Errorf("peer cannot prove that it is %s", peer)
	}
	if want != "" && peer != want {
		return nil, nil, fmt.Errorf("peer id mismatch: expected %s, but remote key matches %s", want, peer)
	}
	if peer == key.PeerID() {
		return nil, nil, errors.New("dial to self attempted")
	}
	if theirs.Chain != chain {
		return nil, nil, fmt.Errorf("peer %s belongs to chain %q", peer, theirs.Chain)
	}
	_ = c.SetDeadline(time.Time{})
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	return &conn{
		net: c, peer: peer, remote: Address{Host: host, Port: theirs.Port, Peer: peer},
		open: map[uint64]chan *message{}, closed: make(chan struct{}),
	}, r, nil
}

func (c *conn) close() {
	c.once.Do(func() {
		close(c.closed)
		_ = c.net.Close()
	})
}

func (c *conn) send(m *message) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.net.SetWriteDeadline(time.Now().Add(handshakeTime))
	if err := writeFrame(c.net, m); err != nil {
		c.close()
		return err
	}
	return nil
}

// ask sends a request and waits for its answer.
func (c *conn) ask(m *message, timeout time.Duration) (*message, error) {
	ch := make(chan *message, 1)
	c.mu.Lock()
	c.nextID++
	m.ID = c.nextID
	c.open[m.ID] = ch
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.open, m.ID)
		c.mu.Unlock()
	}()
	if err := c.send(m); err != nil {
		return nil, err
	}
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	select {
	case answer := <-ch:
		if answer.Error != "" {
			return nil, errors.New(answer.Error)
		}
		return answer, nil
	case <-c.closed:
		return nil, errors.New("connection closed")
	case <-limit.C:
		return nil, fmt.Errorf("no answer from %s within %v", c.peer, timeout)
	}
}

func (c *conn) answered(m *message) {
	c.mu.Lock()
	ch := c.open[m.ID]
	c.mu.Unlock()
	if ch != nil {
		select {
		case ch <- m:
		default:
		}
	}
}
