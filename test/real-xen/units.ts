// SPDX-License-Identifier: MIT
/** The unit that serves a guest, and what is there of it when the guest has ended. */

import type { Dom0 } from "./lab/dom0.js";

/** Bash in dom0, where a process costs a fifth of a second: waits without one, and asks systemd once. */
const ended = (domid: number): string => `
  exec 9<> <(:)
  unit() { [ -d /sys/fs/cgroup/system.slice/system-ioreqd.slice/ioreqd@${domid}.service ]; }
  for ((left = 600; left > 0; left--)); do
    unit || { systemctl is-active ioreqd@${domid} | grep -qx -e inactive -e failed && break; }
    read -rt 0.1 -u 9
  done
  [ $left -gt 0 ] || { echo "ioreqd@${domid} has not ended"; exit 1; }`;

/** Resolves when its process has ended, and what the unit runs after that. */
export async function unitEnded(dom0: Dom0, domid: number): Promise<void> {
  await dom0.sh(ended(domid));
}

export interface Left {
  /** How the unit's process ended: "Result=success", and "ExecMainStatus=0". */
  readonly unit: string;
  /** Warnings and worse in its journal. */
  readonly complaints: string;
  /** Domains that are dead, and of which somebody holds a page. */
  readonly zombies: string;
  /** In xenstore, under the device model's path. */
  readonly keys: string;
  /** In its directory of /run. */
  readonly files: string;
}

/** What there should be. */
export const NOTHING: Left = {
  unit: "ExecMainStatus=0\nResult=success",
  complaints: "",
  zombies: "",
  keys: "",
  files: "",
};

/** Of a guest that has ended, once its unit has, and Xen has freed the domain, which it does bit by bit. */
export async function leftOf(dom0: Dom0, domid: number): Promise<Left> {
  const parts: Left = {
    unit: `systemctl show -p Result -p ExecMainStatus ioreqd@${domid} | sort`,
    complaints: `journalctl -o cat -u ioreqd@${domid} | grep -E '"level":[4-6]0'`,
    zombies: "xl list | grep -F '(null)'",
    keys: `xenstore-ls -f /local/domain/0/device-model/${domid} 2> /dev/null`,
    files: `ls -A /run/ioreqd/${domid} 2> /dev/null`,
  };
  const freed = `for ((left = 300; left > 0; left--)); do xl list ${domid} > /dev/null 2>&1 || break; read -rt 0.1 -u 9; done
    [ $left -gt 0 ] || { echo "xl list has domain ${domid} still"; exit 1; }`;
  const { stdout } = await dom0.sh([ended(domid), freed, ...Object.values(parts)].join("\necho @@\n"), {
    check: false,
  });
  const [, , ...said] = stdout.split("@@\n").map((text) => text.trim());
  return Object.fromEntries(Object.keys(parts).map((name, at) => [name, said[at] ?? stdout])) as unknown as Left;
}
