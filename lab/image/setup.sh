#!/bin/sh
# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs once inside the new image: what all hosts of a lab have in common.
# Nothing here may tell one host from another; keys, names and ids are written when a host is made.
set -eu

# Debian has a group of that name already, for other purposes.
useradd --create-home --uid 1000 --gid users --shell /bin/bash --comment 'lab operator' operator
install -d -m 0700 -o operator -g users /home/operator/.ssh
printf 'operator ALL=(ALL) NOPASSWD: ALL\n' >/etc/sudoers.d/operator
chmod 0440 /etc/sudoers.d/operator

cat >/etc/ssh/sshd_config.d/lab.conf <<'SSHD'
PasswordAuthentication no
PermitRootLogin no
UseDNS no
# Ten parallel logins at once must not be dropped at random.
MaxStartups 100
SSHD
rm -f /etc/ssh/ssh_host_*

# A journal that survives a power cut, as on any server.
install -d -m 2755 -g systemd-journal /var/log/journal

# The namespace of a host's network outlives its boots here, and on any server a boot begins without firewall rules.
cat >/etc/systemd/system/boot-without-rules.service <<'UNIT'
[Unit]
Description=Forget the firewall rules of before this boot
DefaultDependencies=no
Before=network-pre.target
Wants=network-pre.target

[Service]
Type=oneshot
ExecStart=/usr/sbin/nft flush ruleset

[Install]
WantedBy=sysinit.target
UNIT
systemctl enable boot-without-rules.service >/dev/null 2>&1

# Nothing may wake up and work in the middle of a measurement.
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    man-db.timer console-getty.service systemd-networkd.service systemd-resolved.service >/dev/null 2>&1

apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/log/bootstrap.log
rm -f /etc/hostname /etc/resolv.conf
: >/etc/machine-id
