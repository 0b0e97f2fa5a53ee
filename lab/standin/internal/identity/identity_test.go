// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package identity

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"testing"
)

func TestPeerIDOfAKnownKey(t *testing.T) {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	pub := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	const want = "12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB"
	if got := PeerID(pub); got != want {
		t.Fatalf("peer id %s, want %s", got, want)
	}
	if !ValidPeerID(want) {
		t.Fatal("a correct peer id is refused")
	}
	for _, bad := range []string{"", "12D3KooW", " " + want, want + "x", "QmfooO0l"} {
		if ValidPeerID(bad) {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestKeyIsMadeOnceAndReadBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "config")
	first, err := LoadOrCreate(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := LoadOrCreate(dir)
	if err != nil {
		t.Fatal(err)
	}
	if first.PeerID() != second.PeerID() {
		t.Fatal("a second call made another key")
	}
	info, err := os.Stat(filepath.Join(dir, FileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, err %v", info.Mode(), err)
	}
}
