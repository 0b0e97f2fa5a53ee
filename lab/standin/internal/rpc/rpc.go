// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package rpc serves what a node tells about itself over HTTP: Connect unary calls in JSON, health, Raft role.
package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"evnode.dev/standin/internal/chainstore"
	"evnode.dev/standin/internal/genesis"
	"evnode.dev/standin/internal/identity"
	"evnode.dev/standin/internal/ledger"
	"evnode.dev/standin/internal/p2p"
	"evnode.dev/standin/internal/raftnode"
	"evnode.dev/standin/internal/settings"
)

// Sources is where answers come from.
type Sources struct {
	Config  *settings.Config
	Genesis *genesis.Genesis
	Store   *chainstore.Store
	Host    *p2p.Host
	Raft    *raftnode.Node
	Leads   bool          // the role that this server belongs to
	Best    func() uint64 // highest block known in the network
}

type failure struct {
	status  int
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (f *failure) Error() string { return f.Message }

func notFound(err error) error { return &failure{http.StatusNotFound, "not_found", err.Error()} }
func internal(err error) error {
	return &failure{http.StatusInternalServerError, "internal", err.Error()}
}
func invalid(text string) error {
	return &failure{http.StatusBadRequest, "invalid_argument", text}
}

// number is a 64-bit value in protobuf's JSON: a string, left out when zero.
type number uint64

func (n number) MarshalJSON() ([]byte, error) { return json.Marshal(strconv.FormatUint(uint64(n), 10)) }

func (n *number) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		s = string(raw)
	}
	v, err := strconv.ParseUint(s, 10, 64)
	*n = number(v)
	return err
}

type empty struct{}

type stateJSON struct {
	Version         empty  `json:"version"`
	ChainID         string `json:"chainId,omitempty"`
	InitialHeight   number `json:"initialHeight,omitempty"`
	LastBlockHeight number `json:"lastBlockHeight,omitempty"`
	LastBlockTime   string `json:"lastBlockTime,omitempty"`
	DAHeight        number `json:"daHeight,omitempty"`
	AppHash         []byte `json:"appHash,omitempty"`
	NextProposer    []byte `json:"nextProposerAddress,omitempty"`
}

type headerJSON struct {
	Version         empty  `json:"version"`
	Height          number `json:"height,omitempty"`
	Time            number `json:"time,omitempty"`
	LastHeaderHash  []byte `json:"lastHeaderHash,omitempty"`
	DataHash        []byte `json:"dataHash,omitempty"`
	AppHash         []byte `json:"appHash,omitempty"`
	ProposerAddress []byte `json:"proposerAddress,omitempty"`
	ChainID         string `json:"chainId,omitempty"`
}

type signerJSON struct {
	Address []byte `json:"address,omitempty"`
	PubKey  []byte `json:"pubKey,omitempty"`
}

type signedJSON struct {
	Header    headerJSON `json:"header"`
	Signature []byte     `json:"signature,omitempty"`
	Signer    signerJSON `json:"signer"`
}

type metaJSON struct {
	ChainID      string `json:"chainId,omitempty"`
	Height       number `json:"height,omitempty"`
	Time         number `json:"time,omitempty"`
	LastDataHash []byte `json:"lastDataHash,omitempty"`
}

type dataJSON struct {
	Metadata metaJSON `json:"metadata"`
	Txs      [][]byte `json:"txs,omitempty"`
}

type blockJSON struct {
	Header signedJSON `json:"header"`
	Data   dataJSON   `json:"data"`
}

type entryJSON struct {
	Height number `json:"height,omitempty"`
	Hash   []byte `json:"hash,omitempty"`
	Time   string `json:"time,omitempty"`
}

type storeJSON struct {
	Label  string     `json:"label"`
	Height number     `json:"height,omitempty"`
	Head   *entryJSON `json:"head,omitempty"`
	Tail   *entryJSON `json:"tail,omitempty"`
}

type netInfoJSON struct {
	ID     string   `json:"id,omitempty"`
	Listen []string `json:"listenAddresses,omitempty"`
}

type peerJSON struct {
	ID      string `json:"id"`
	Address string `json:"address"`
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999999999Z") }

// New makes the server; the caller listens and serves.
func New(s Sources) *http.Server {
	mux := http.NewServeMux()
	call(mux, "StoreService/GetState", s.state)
	call(mux, "StoreService/GetBlock", s.block)
	call(mux, "StoreService/GetP2PStoreInfo", s.stores)
	call(mux, "StoreService/GetMetadata", s.metadata)
	call(mux, "StoreService/GetGenesisDaHeight", s.genesisDA)
	call(mux, "P2PService/GetNetInfo", s.netInfo)
	call(mux, "P2PService/GetPeerInfo", s.peerInfo)
	call(mux, "ConfigService/GetNamespace", s.namespace)
	call(mux, "ConfigService/GetSignerInfo", s.signerInfo)
	mux.HandleFunc("/raft/node", s.raftNode)
	mux.HandleFunc("/health/live", func(w http.ResponseWriter, _ *http.Request) { plain(w, "OK") })
	mux.HandleFunc("/health/ready", s.ready)
	return &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
}

func plain(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain")
	fmt.Fprintln(w, text)
}

// call registers a unary procedure.
func call[In, Out any](mux *http.ServeMux, name string, f func(*In) (*Out, error)) {
	mux.HandleFunc("/evnode.v1."+name, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		if kind := r.Header.Get("Content-Type"); kind != "application/json" && kind != "application/json; charset=utf-8" {
			w.Header().Set("Accept-Post", "application/json, application/json; charset=utf-8")
			w.WriteHeader(http.StatusUnsupportedMediaType)
			return
		}
		answer, err := func() (*Out, error) {
			raw, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
			if err != nil {
				return nil, invalid(err.Error())
			}
			in := new(In)
			if err := json.Unmarshal(raw, in); err != nil {
				return nil, invalid(fmt.Sprintf("unmarshal message: %v", err))
			}
			return f(in)
		}()
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			var fail *failure
			if !errors.As(err, &fail) {
				fail = internal(err).(*failure)
			}
			w.WriteHeader(fail.status)
			_ = json.NewEncoder(w).Encode(fail)
			return
		}
		raw, _ := json.Marshal(answer)
		_, _ = w.Write(raw)
	})
}

type stateAnswer struct {
	State stateJSON `json:"state"`
}

func (s Sources) state(*empty) (*stateAnswer, error) {
	st, err := s.Store.State()
	if err != nil {
		return nil, notFound(err)
	}
	return &stateAnswer{stateJSON{
		ChainID: st.ChainID, InitialHeight: number(st.InitialHeight), LastBlockHeight: number(st.Height),
		LastBlockTime: stamp(st.Time), DAHeight: number(st.DAHeight), AppHash: st.AppHash, NextProposer: st.NextProposer,
	}}, nil
}

type blockRequest struct {
	Height *number `json:"height"`
	Hash   []byte  `json:"hash"`
}

type blockAnswer struct {
	Block    blockJSON `json:"block"`
	HeaderDA number    `json:"headerDaHeight,omitempty"`
	DataDA   number    `json:"dataDaHeight,omitempty"`
}

func (s Sources) block(in *blockRequest) (*blockAnswer, error) {
	var b *ledger.Block
	var err error
	switch {
	case in.Hash != nil:
		b, err = s.Store.BlockByHash(in.Hash)
	case in.Height != nil:
		height := uint64(*in.Height)
		if height == 0 {
			if height = s.Store.Height(); height == 0 {
				return nil, notFound(errors.New("store is empty, no latest block available"))
			}
		}
		b, err = s.Store.Block(height)
	default:
		return nil, invalid("invalid or unsupported identifier type provided")
	}
	if err != nil {
		return nil, internal(fmt.Errorf("failed to retrieve block data: %w", err))
	}
	h := &b.Header
	return &blockAnswer{
		Block: blockJSON{
			Header: signedJSON{
				Header: headerJSON{
					Height: number(h.Height), Time: number(h.Time), LastHeaderHash: h.LastHeaderHash, DataHash: h.DataHash,
					AppHash: h.AppHash, ProposerAddress: h.ProposerAddress, ChainID: h.ChainID,
				},
				Signature: b.Signature,
				Signer:    signerJSON{Address: h.ProposerAddress, PubKey: identity.MarshalPublic(b.PubKey)},
			},
			Data: dataJSON{
				Metadata: metaJSON{ChainID: h.ChainID, Height: number(h.Height), Time: number(h.Time), LastDataHash: b.Data.LastDataHash},
				Txs:      b.Data.Txs,
			},
		},
		HeaderDA: number(s.Store.Counter(fmt.Sprintf("rhb/%d/h", h.Height))),
		DataDA:   number(s.Store.Counter(fmt.Sprintf("rhb/%d/d", h.Height))),
	}, nil
}

type storesAnswer struct {
	Stores []storeJSON `json:"stores"`
}

func (s Sources) stores(*empty) (*storesAnswer, error) {
	headers, data := storeJSON{Label: "Header Store"}, storeJSON{Label: "Data Store"}
	entries := func(height uint64) (h, d *entryJSON, err error) {
		b, err := s.Store.Block(height)
		if err != nil {
			return nil, nil, internal(err)
		}
		at := stamp(b.Header.When())
		return &entryJSON{number(height), b.Header.Hash(), at}, &entryJSON{number(height), b.DataHash(), at}, nil
	}
	if top := s.Store.Height(); top > 0 {
		headers.Height, data.Height = number(top), number(top)
		var err error
		if headers.Head, data.Head, err = entries(top); err != nil {
			return nil, err
		}
		if headers.Tail, data.Tail, err = entries(s.Store.Lowest()); err != nil {
			return nil, err
		}
	}
	return &storesAnswer{[]storeJSON{headers, data}}, nil
}

type metadataRequest struct {
	Key string `json:"key"`
}

type metadataAnswer struct {
	Value []byte `json:"value,omitempty"`
}

func (s Sources) metadata(in *metadataRequest) (*metadataAnswer, error) {
	value, err := s.Store.Metadata(in.Key)
	if err != nil {
		return nil, notFound(err)
	}
	return &metadataAnswer{value}, nil
}

type heightAnswer struct {
	Height number `json:"height,omitempty"`
}

func (s Sources) genesisDA(*empty) (*heightAnswer, error) {
	if _, err := s.Store.Metadata(chainstore.KeyGenesisDA); err != nil {
		return nil, notFound(err)
	}
	return &heightAnswer{number(s.Store.Counter(chainstore.KeyGenesisDA))}, nil
}

type netInfoAnswer struct {
	NetInfo netInfoJSON `json:"netInfo"`
}

func (s Sources) netInfo(*empty) (*netInfoAnswer, error) {
	return &netInfoAnswer{netInfoJSON{s.Host.ID(), s.Host.Addresses()}}, nil
}

type peersAnswer struct {
	Peers []peerJSON `json:"peers,omitempty"`
}

func (s Sources) peerInfo(*empty) (*peersAnswer, error) {
	out := &peersAnswer{}
	for _, a := range s.Host.Connected() {
		out.Peers = append(out.Peers, peerJSON{a.Peer, fmt.Sprintf("{%s: [%s]}", a.Peer, a.Multiaddr())})
	}
	return out, nil
}

type namespaceAnswer struct {
	Header string `json:"headerNamespace"`
	Data   string `json:"dataNamespace"`
}

func (s Sources) namespace(*empty) (*namespaceAnswer, error) {
	return &namespaceAnswer{settings.NamespaceHex(s.Config.DA.Namespace), settings.NamespaceHex(s.Config.DataNamespace())}, nil
}

// signerInfo tells the genesis proposer, not the key that was loaded.
func (s Sources) signerInfo(*empty) (*signerJSON, error) {
	return &signerJSON{Address: s.Genesis.ProposerAddress}, nil
}

func (s Sources) raftNode(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if s.Raft == nil {
		panic(http.ErrAbortHandler) // without Raft the connection ends and no answer is sent
	}
	leads := s.Raft.IsLeader()
	if id := s.Raft.LeaderID(); id != "" {
		leads = id == s.Raft.ID()
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(struct {
		IsLeader bool   `json:"is_leader"`
		NodeID   string `json:"node_id"`
	}{leads, s.Raft.ID()})
}

func (s Sources) ready(w http.ResponseWriter, _ *http.Request) {
	if why := s.unready(); why != "" {
		http.Error(w, "UNREADY: "+why, http.StatusServiceUnavailable)
		return
	}
	plain(w, "READY")
}

func (s Sources) unready() string {
	if !s.Leads && len(s.Host.Connected()) == 0 {
		return "no peers connected"
	}
	st, err := s.Store.State()
	if err != nil {
		return "state unavailable"
	}
	if st.Height == 0 {
		return "no blocks yet"
	}
	n := &s.Config.Node
	limit, late := 5*n.BlockTime.D(), "aggregator not producing blocks at expected rate"
	if n.LazyMode {
		limit = 2 * n.LazyBlockInterval.D()
	}
	if !s.Leads {
		window := n.ReadinessWindowSeconds
		if window == 0 {
			window = 15
		}
		limit, late = time.Duration(window)*time.Second, "node not executing blocks"
	}
	if time.Since(st.Time) > limit {
		return late
	}
	best := s.Best()
	if best == 0 {
		return "best-known height unknown"
	}
	if best > st.Height && best-st.Height > n.ReadinessMaxBlocksBehind {
		return "behind best-known head"
	}
	return ""
}
