// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package evm

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/zerolog"
)

const secret = "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

// chain is a client that keeps blocks as the transactions they were built from; "bad" is a transaction nobody can include.
type chain struct {
	t      *testing.T
	blocks [][]string
	built  []string
	engine []string
	pool   map[string]map[string]string
}

func (c *chain) hash(height int) string {
	return fmt.Sprintf("0x%x", "h"+fmt.Sprint(height)+strings.Join(c.blocks[height], ","))
}

func (c *chain) block(height int) map[string]string {
	return map[string]string{
		"number": fmt.Sprintf("0x%x", height), "hash": c.hash(height), "stateRoot": fmt.Sprintf("0x%02x", height),
		"timestamp": fmt.Sprintf("0x%x", 100+height),
	}
}

func (c *chain) answer(method string, params []json.RawMessage) (any, error) {
	text := func(i int) (found string) { _ = json.Unmarshal(params[i], &found); return found }
	switch method {
	case "eth_getBlockByNumber":
		height := len(c.blocks) - 1
		if text(0) != "latest" {
			height = int(number(text(0)))
		}
		return c.block(height), nil
	case "testing_buildBlockV1":
		var txs []string
		_ = json.Unmarshal(params[2], &txs)
		for _, tx := range txs {
			if tx == "0x"+hex.EncodeToString([]byte("bad")) {
				return nil, fmt.Errorf("nonce too low")
			}
		}
		if text(0) != c.hash(len(c.blocks)-1) {
			return nil, fmt.Errorf("parentHash is not current head")
		}
		c.built = txs
		return map[string]any{"executionPayload": map[string]string{
			"blockHash": "0xbb", "stateRoot": fmt.Sprintf("0x%02x", len(c.blocks)), "kept": "as it came",
		}}, nil
	case "engine_newPayloadV4":
		if !strings.Contains(string(params[0]), `"kept":"as it came"`) {
			c.t.Errorf("the payload was changed: %s", params[0])
		}
		return map[string]string{"status": "VALID"}, nil
	case "engine_forkchoiceUpdatedV3":
		c.blocks = append(c.blocks, c.built)
		return map[string]any{"payloadStatus": map[string]string{"status": "VALID"}}, nil
	case "debug_setHead":
		c.blocks = c.blocks[:number(text(0))+1]
		return nil, nil
	case "txpool_content":
		pending := map[string]map[string]map[string]string{}
		for sender, txs := range c.pool {
			pending[sender] = map[string]map[string]string{}
			for nonce, tx := range txs {
				pending[sender][nonce] = map[string]string{"hash": keccak([]byte(tx))}
			}
		}
		return map[string]any{"pending": pending}, nil
	case "eth_getRawTransactionByHash":
		for _, txs := range c.pool {
			for _, tx := range txs {
				if keccak([]byte(tx)) == text(0) {
					return "0x" + hex.EncodeToString([]byte(tx)), nil
				}
			}
		}
	}
	return nil, fmt.Errorf("unexpected %s", method)
}

func open(t *testing.T, c *chain) *EVM {
	t.Helper()
	c.t = t
	key, _ := hex.DecodeString(secret[2:])
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var question struct {
			Method string
			Params []json.RawMessage
		}
		if err := json.NewDecoder(r.Body).Decode(&question); err != nil {
			t.Error(err)
		}
		if strings.HasPrefix(question.Method, "engine_") {
			token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			if _, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
				http.Error(w, "invalid token", http.StatusUnauthorized)
				return
			}
			c.engine = append(c.engine, question.Method)
		}
		result, err := c.answer(question.Method, question.Params)
		reply := map[string]any{"jsonrpc": "2.0", "id": 1, "result": result}
		if err != nil {
			reply = map[string]any{"jsonrpc": "2.0", "id": 1, "error": map[string]any{"code": -32000, "message": err.Error()}}
		}
		_ = json.NewEncoder(w).Encode(reply)
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "jwt.hex")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := Open(Settings{EthURL: server.URL, EngineURL: server.URL, SecretFile: file}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestABlockGoesThroughTheEngine(t *testing.T) {
	c := &chain{blocks: [][]string{nil}}
	root, err := open(t, c).Execute(1, 200e9, [][]byte{[]byte("tx")})
	if err != nil || hex.EncodeToString(root) != "01" {
		t.Fatalf("%x %v", root, err)
	}
	if got := strings.Join(c.engine, " "); got != "engine_newPayloadV4 engine_forkchoiceUpdatedV3" {
		t.Fatal(got)
	}
}

func TestABlockThatIsThereAlreadyIsMadeAgain(t *testing.T) {
	c := &chain{blocks: [][]string{nil, {"lost"}}}
	if _, err := open(t, c).Execute(1, 200e9, [][]byte{[]byte("tx")}); err != nil {
		t.Fatal(err)
	}
	if len(c.blocks) != 2 || c.blocks[1][0] != "0x"+hex.EncodeToString([]byte("tx")) {
		t.Fatalf("%v", c.blocks)
	}
}

func TestAClientThatIsBehindIsNotGivenALaterBlock(t *testing.T) {
	if _, err := open(t, &chain{blocks: [][]string{nil}}).Execute(3, 200e9, nil); err == nil {
		t.Fatal("block 3 was executed on block 0")
	}
}

func TestReconcile(t *testing.T) {
	read := func(height uint64) (uint64, [][]byte, error) {
		return height * 1e9, [][]byte{[]byte(fmt.Sprint("tx", height))}, nil
	}
	behind := &chain{blocks: [][]string{nil, {"one"}}}
	if err := open(t, behind).Reconcile(3, read); err != nil || len(behind.blocks) != 4 {
		t.Fatalf("%v %v", behind.blocks, err)
	}
	ahead := &chain{blocks: [][]string{nil, {"one"}, {"two"}, {"three"}}}
	if err := open(t, ahead).Reconcile(2, read); err != nil || len(ahead.blocks) != 3 {
		t.Fatalf("%v %v", ahead.blocks, err)
	}
}

func TestWhatCannotBeIncludedIsLeftOutAndTakenAgain(t *testing.T) {
	c := &chain{blocks: [][]string{nil}, pool: map[string]map[string]string{"a": {"10": "good", "9": "bad"}}}
	client := open(t, c)
	taken := client.Take()
	if len(taken) != 2 || string(taken[0]) != "bad" || string(taken[1]) != "good" {
		t.Fatalf("%q", taken)
	}
	if again := client.Take(); len(again) != 0 {
		t.Fatalf("taken twice: %q", again)
	}
	fit, err := client.Filter(200e9, taken)
	if err != nil || len(fit) != 1 || string(fit[0]) != "good" {
		t.Fatalf("%q %v", fit, err)
	}
	if again := client.Take(); len(again) != 1 || string(again[0]) != "bad" {
		t.Fatalf("%q", again)
	}
}
