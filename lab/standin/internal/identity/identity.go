// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package identity holds the Ed25519 key by which a node is known to its peers.
package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
)

// FileName is the key file below <home>/config.
const FileName = "node_key.json"

// Key is a node's identity.
type Key struct {
	Private ed25519.PrivateKey
	Public  ed25519.PublicKey
}

type keyFile struct {
	Private []byte `json:"priv_key"`
	Public  []byte `json:"pub_key"`
}

// Load reads <dir>/node_key.json.
func Load(dir string) (*Key, error) {
	path := filepath.Join(dir, FileName)
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("failed to read node key file %s: %w", path, err)
	}
	var f keyFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("failed to unmarshal node key from file %s: %w", path, err)
	}
	if len(f.Private) != ed25519.PrivateKeySize || len(f.Public) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("node key file %s: a private key of 64 and a public key of 32 bytes are expected, found %d and %d",
			path, len(f.Private), len(f.Public))
	}
	return &Key{Private: f.Private, Public: f.Public}, nil
}

// LoadOrCreate reads the key of dir, or makes one if there is no file.
func LoadOrCreate(dir string) (*Key, error) {
	path := filepath.Join(dir, FileName)
	if _, err := os.Stat(path); err == nil {
		return Load(dir)
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("failed to generate node key: %w", err)
	}
	raw, err := json.Marshal(keyFile{Private: priv, Public: pub})
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		return nil, fmt.Errorf("failed to save node key to %s: %w", path, err)
	}
	return &Key{Private: priv, Public: pub}, nil
}

// PeerID is the key's libp2p peer id.
func (k *Key) PeerID() string { return PeerID(k.Public) }

// PeerID is the libp2p peer id of an Ed25519 key: base58 of the identity multihash over the key's protobuf form.
func PeerID(pub ed25519.PublicKey) string {
	return base58(append([]byte{0x00, 0x24}, MarshalPublic(pub)...))
}

// MarshalPublic is the libp2p protobuf form of an Ed25519 public key.
func MarshalPublic(pub ed25519.PublicKey) []byte {
	return append([]byte{0x08, 0x01, 0x12, 0x20}, pub...)
}

const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

func base58(b []byte) string {
	n, radix, digit := new(big.Int).SetBytes(b), big.NewInt(58), new(big.Int)
	var out []byte
	for n.Sign() > 0 {
		n.DivMod(n, radix, digit)
		out = append(out, alphabet[digit.Int64()])
	}
	for i := 0; i < len(b) && b[i] == 0; i++ {
		out = append(out, alphabet[0])
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return string(out)
}

// ValidPeerID says whether s can be the peer id of an Ed25519 key.
func ValidPeerID(s string) bool {
	n, radix := new(big.Int), big.NewInt(58)
	for _, r := range s {
		at := -1
		for i, a := range alphabet {
			if a == r {
				at = i
			}
		}
		if at < 0 {
			return false
		}
		n.Mul(n, radix).Add(n, big.NewInt(int64(at)))
	}
	raw := n.Bytes()
	return len(s) > 0 && s[0] == '1' && len(raw) == 37 && raw[0] == 0x24 && raw[1] == 0x08 && raw[2] == 0x01
}
