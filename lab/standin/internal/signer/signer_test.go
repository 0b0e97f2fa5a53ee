// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package signer

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeyIsCreatedReadAndRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir, "secret", false); err == nil || !strings.Contains(err.Error(), "key file not found at") {
		t.Fatalf("missing key: %v", err)
	}
	made, err := Open(dir, "secret", true)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(filepath.Join(dir, FileName), "secret", false)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made.Address(), again.Address()) {
		t.Fatal("another key was read")
	}
	if !ed25519.Verify(made.Public(), []byte("m"), again.Sign([]byte("m"))) {
		t.Fatal("signature is not valid")
	}
	if _, err := Open(dir, "other", false); err == nil || !strings.Contains(err.Error(), "failed to decrypt private key (wrong passphrase?)") {
		t.Fatalf("wrong passphrase: %v", err)
	}
	info, _ := os.Stat(filepath.Join(dir, FileName))
	if info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v", info.Mode())
	}
}

func TestExportAndImport(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	made, err := Open(one, "a", true)
	if err != nil {
		t.Fatal(err)
	}
	key, err := Export(one, "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := Import(two, key, "b"); err != nil {
		t.Fatal(err)
	}
	other, err := Open(two, "b", false)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made.Address(), other.Address()) {
		t.Fatal("the imported key differs")
	}
	if err := Import(two, key[:10], "b"); err == nil {
		t.Fatal("a short key was accepted")
	}
}

func TestPassphraseFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(file, []byte("  word \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadPassphrase(file); err != nil || got != "word" {
		t.Fatalf("%q, %v", got, err)
	}
	if err := os.WriteFile(file, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPassphrase(file); err == nil || !strings.HasSuffix(err.Error(), "is empty") {
		t.Fatalf("empty file: %v", err)
	}
}
