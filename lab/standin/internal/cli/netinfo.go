// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

type peerInfo struct {
	ID      string `json:"id"`
	Address string `json:"address"`
}

func netInfoCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "net-info", Short: "Ask a running node for its network identity and its peers",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(cmd)
			if err != nil {
				return fmt.Errorf("error parsing config: %w", err)
			}
			if cfg.RPC.Address == "" {
				return errors.New("RPC address not found in node configuration")
			}
			format, _ := cmd.Flags().GetString("output")
			if format != "text" && format != "json" {
				return fmt.Errorf("unsupported output format %q (supported: text, json)", format)
			}
			var info struct {
				NetInfo struct {
					ID     string   `json:"id"`
					Listen []string `json:"listenAddresses"`
				} `json:"netInfo"`
			}
			if err := ask(cfg.RPC.Address, "GetNetInfo", &info); err != nil {
				return err
			}
			var peers struct {
				Peers []peerInfo `json:"peers"`
			}
			if err := ask(cfg.RPC.Address, "GetPeerInfo", &peers); err != nil {
				return err
			}
			if format == "json" {
				out := json.NewEncoder(cmd.OutOrStdout())
				out.SetIndent("", "  ")
				return out.Encode(struct {
					NodeID string     `json:"node_id"`
					Listen []string   `json:"listen_addresses"`
					Peers  []peerInfo `json:"peers"`
				}{info.NetInfo.ID, info.NetInfo.Listen, append([]peerInfo{}, peers.Peers...)})
			}
			return printNetInfo(cmd.OutOrStdout(), info.NetInfo.ID, info.NetInfo.Listen, peers.Peers)
		},
	}
	cmd.Flags().StringP("output", "o", "text", "text or json")
	return cmd
}

func ask(address, method string, out any) error {
	if !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://") {
		address = "http://" + address
	}
	answer, err := http.Post(address+"/evnode.v1.P2PService/"+method, "application/json", bytes.NewReader([]byte("{}")))
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return fmt.Errorf("%s RPC: unavailable: %w", method, err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("%s RPC: unavailable: %w", method, err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s RPC: unknown: %s", method, answer.Status)
	}
	return json.Unmarshal(raw, out)
}

func printNetInfo(w io.Writer, id string, listen []string, peers []peerInfo) error {
	const cyan, yellow, blue, off = "\033[1;36m", "\033[1;33m", "\033[1;34m", "\033[0m"
	thick, thin := strings.Repeat("=", 50), strings.Repeat("-", 50)
	var b strings.Builder
	fmt.Fprintf(&b, "%s📊 NODE INFORMATION%s\n", thick, thick)
	fmt.Fprintf(&b, "🆔 Node ID:      %s%s%s\n📡 Listen Addrs:", cyan, id, off)
	for i, a := range listen {
		fmt.Fprintf(&b, "   [%d] Addr: %s%s%s\n", i+1, cyan, a, off)
	}
	fmt.Fprintf(&b, "%s\n👥 CONNECTED PEERS: %s%d%s\n", thin, yellow, len(peers), off)
	if len(peers) > 0 {
		fmt.Fprintf(&b, "%s\n%-5s %-20s %s\n%s\n", thin, "NO.", "PEER ID", "ADDRESS", thin)
		for i, p := range peers {
			short := p.ID
			if len(short) > 18 {
				short = short[:15] + "..."
			}
			fmt.Fprintf(&b, "%-5d %s%-20s%s %s\n", i+1, blue, short, off, p.Address)
		}
	} else {
		b.WriteString("\n\033[3;33mNo peers connected" + off)
	}
	b.WriteString(thick + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}
