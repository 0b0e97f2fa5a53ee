// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command evnode-standin behaves, as seen from outside, like a node of a chain that runs ev-node.
package main

import (
	"os"

	"evnode.dev/standin/internal/cli"
)

func main() {
	os.Exit(cli.Execute())
}
