// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package signer holds the key that signs blocks, encrypted at rest with a passphrase.
package signer

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/argon2"
)

// FileName is the encrypted key file.
const FileName = "signer.json"

// Signer signs with a decrypted key.
type Signer struct {
	key ed25519.PrivateKey
}

type sealed struct {
	Private []byte `json:"priv_key_encrypted"`
	Nonce   []byte `json:"nonce"`
	Public  []byte `json:"pub_key"`
	Salt    []byte `json:"salt,omitempty"`
}

// Address is the SHA-256 of a raw public key: what a genesis calls the proposer.
func Address(pub ed25519.PublicKey) []byte {
	sum := sha256.Sum256(pub)
	return sum[:]
}

// Public returns the raw public key.
func (s *Signer) Public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// Address is the address of the signer's own key.
func (s *Signer) Address() []byte { return Address(s.Public()) }

// Sign signs a message.
func (s *Signer) Sign(message []byte) []byte { return ed25519.Sign(s.key, message) }

// ReadPassphrase reads a passphrase file; blanks around it do not count, an empty one is an error.
func ReadPassphrase(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("failed to read passphrase from file '%s': %w", path, err)
	}
	phrase := strings.TrimSpace(string(raw))
	if phrase == "" {
		return "", fmt.Errorf("passphrase file '%s' is empty", path)
	}
	return phrase, nil
}

// Open loads the key below path (a directory, or the key file itself). With create, a missing key is made.
// A relative path starts at the working directory of the process.
func Open(path, passphrase string, create bool) (*Signer, error) {
	if passphrase == "" {
		return nil, errors.New("passphrase is required when using local file signer")
	}
	if path == "" {
		return nil, errors.New("signer path is required when using local file signer")
	}
	dir, err := filepath.Abs(strings.TrimSuffix(path, FileName))
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, FileName)
	if create {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, fmt.Errorf("failed to create signer directory: %w", err)
		}
		if _, err := os.Stat(file); os.IsNotExist(err) {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				return nil, fmt.Errorf("failed to generate key pair: %w", err)
			}
			if err := write(file, key, passphrase); err != nil {
				return nil, fmt.Errorf("failed to save keys: %w", err)
			}
			return &Signer{key: key}, nil
		}
	}
	if _, err := os.Stat(file); err != nil {
		if os.IsNotExist(err) {
			return nil, fmt.Errorf("key file not found at %s: %w", file, err)
		}
		return nil, fmt.Errorf("failed to check key file status: %w", err)
	}
	key, public, err := read(file, passphrase, "failed to decrypt private key (wrong passphrase?)")
	if err != nil {
		return nil, err
	}
	if !key.Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(public)) {
		return nil, fmt.Errorf("public key of %s does not belong to its private key", file)
	}
	return &Signer{key: key}, nil
}

// Export returns the decrypted 64-byte key below dir.
func Export(dir, passphrase string) ([]byte, error) {
	key, _, err := read(filepath.Join(dir, FileName), passphrase, "failed to decrypt private key (wrong passphrase)")
	return key, err
}

// Import encrypts a 64-byte key below dir, replacing what is there.
func Import(dir string, key []byte, passphrase string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("failed to create directory: %w", err)
	}
	if len(key) != ed25519.PrivateKeySize {
		return fmt.Errorf("failed to unmarshal private key: expected ed25519 data size to be %d or 96, got %d", ed25519.PrivateKeySize, len(key))
	}
	return write(filepath.Join(dir, FileName), key, passphrase)
}

func box(passphrase string, salt []byte) (cipher.AEAD, error) {
	secret := []byte(passphrase)
	var key []byte
	if len(salt) == 0 { // the way of files from before there was a salt
		key = make([]byte, 32)
		copy(key, secret)
		for i := len(secret); i < 32; i++ {
			key[i] = secret[i%len(secret)] ^ byte(i)
		}
	} else {
		key = argon2.IDKey(secret, salt, 3, 32*1024, 4, 32)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("failed to create cipher: %w", err)
	}
	return cipher.NewGCM(block)
}

func write(file string, key ed25519.PrivateKey, passphrase string) error {
	salt, nonce := make([]byte, 16), make([]byte, 12)
	_, _ = rand.Read(salt)
	_, _ = rand.Read(nonce)
	aead, err := box(passphrase, salt)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(sealed{
		Private: aead.Seal(nil, nonce, key, nil), Nonce: nonce,
		Public: key.Public().(ed25519.PublicKey), Salt: salt,
	})
	if err != nil {
		return fmt.Errorf("failed to marshal key data: %w", err)
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return fmt.Errorf("failed to write key file: %w", err)
	}
	return nil
}

func read(file, passphrase, refused string) (ed25519.PrivateKey, []byte, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to read key file: %w", err)
	}
	var s sealed
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, nil, fmt.Errorf("failed to unmarshal key data: %w", err)
	}
	aead, err := box(passphrase, s.Salt)
	if err != nil {
		return nil, nil, err
	}
	if len(s.Nonce) != aead.NonceSize() {
		return nil, nil, fmt.Errorf("%s: nonce of %d bytes expected, found %d", refused, aead.NonceSize(), len(s.Nonce))
	}
	key, err := aead.Open(nil, s.Nonce, s.Private, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", refused, err)
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, nil, fmt.Errorf("failed to unmarshal private key: %d bytes expected, found %d", ed25519.PrivateKeySize, len(key))
	}
	return key, s.Public, nil
}
