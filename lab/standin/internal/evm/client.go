// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package evm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const patience = 10 * time.Second

// client asks one endpoint over JSON-RPC, with a token of its own for each question where there is a secret.
type client struct {
	url    string
	secret []byte
	http   http.Client
}

func newClient(url string, secret []byte) *client {
	return &client{url: url, secret: secret, http: http.Client{Timeout: patience}}
}

type failure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (c *client) call(method string, into any, params ...any) error {
	if params == nil {
		params = []any{}
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if c.secret != nil {
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iat": time.Now().Unix()}).SignedString(c.secret)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s with %s", c.url, method, answer.Status)
	}
	var reply struct {
		Result json.RawMessage `json:"result"`
		Error  *failure        `json:"error"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&reply); err != nil {
		return fmt.Errorf("%s: %s: %w", c.url, method, err)
	}
	if reply.Error != nil {
		return fmt.Errorf("%s: %s (%d)", method, reply.Error.Message, reply.Error.Code)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(reply.Result, into)
}

// UnmarshalJSON keeps the payload as it came, and reads what matters here.
func (p *payload) UnmarshalJSON(data []byte) error {
	p.raw = append([]byte{}, data...)
	return json.Unmarshal(data, &p.facts)
}

// MarshalJSON gives it back.
func (p payload) MarshalJSON() ([]byte, error) { return p.raw, nil }
