// SPDX-License-Identifier: MIT
/** What makes a freshly installed Debian the lab's dom0: its files, and units that it can do without. */

import { chmodSync, cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { command } from "./command.js";
import { LAB_SOURCES } from "./lab-files.js";

/** Nothing here is wanted for a machine that runs for minutes, has no network, no users, and is never upgraded. */
const MASKED_UNITS = [
  ...["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"],
  ...["e2scrub_reap.service", "systemd-tmpfiles-clean.timer", "systemd-pstore.service", "systemd-binfmt.service"],
  ...["systemd-firstboot.service", "systemd-repart.service", "systemd-machine-id-commit.service"],
  ...["systemd-random-seed.service", "systemd-pcrphase.service", "systemd-pcrphase-sysinit.service"],
  ...["systemd-update-utmp.service", "systemd-update-utmp-runlevel.service", "systemd-ask-password-console.path"],
  ...["systemd-ask-password-wall.path", "getty.target", "serial-getty@hvc0.service", "cryptsetup.target"],
  ...["veritysetup.target", "integritysetup.target", "proc-sys-fs-binfmt_misc.automount", "dev-hugepages.mount"],
  ...["sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "remote-fs.target"],
  ...["sys-fs-fuse-connections.mount", "dev-mqueue.mount", "systemd-logind.service", "systemd-user-sessions.service"],
  ...["systemd-sysusers.service", "systemd-journal-flush.service", "systemd-remount-fs.service"],
  ...["systemd-sysctl.service", "xendomains.service"],
  // devtmpfs has the nodes; udev still sees what comes later, such as a guest's back ends.
  "systemd-udev-trigger.service",
];

/** Xen's logs are written where the host reads them, so they outlive a dom0 that stands still. */
const FSTAB = `# The lab's initramfs has mounted / and /share already.
/share/log/xen /var/log/xen none bind 0 0
`;

const JOURNALD = "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n";

/** The kernel's own limit of 15 s for the first coldplug would do, but the machine may be slow. */
const SYSTEM = "[Manager]\nDefaultTimeoutStartSec=300s\nDefaultTimeoutStopSec=60s\n";

export async function configureDom0(root: string): Promise<void> {
  const write = (name: string, content: string) => {
    mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    writeFileSync(path.join(root, name), content);
  };
  for (const name of ["share", "var/log/xen", "usr/lib/ioreqd-lab"])
    mkdirSync(path.join(root, name), { recursive: true });
  write("etc/hostname", "dom0\n");
  write("etc/hosts", "127.0.0.1 localhost dom0\n");
  write("etc/fstab", FSTAB);
  write("etc/machine-id", "10bd000000000000000000000000d000\n");
  write("etc/systemd/journald.conf.d/lab.conf", JOURNALD);
  write("etc/systemd/system.conf.d/lab.conf", SYSTEM);
  write("etc/default/xen", 'XENCONSOLED_ARGS="--log=guest --log-dir=/var/log/xen/console"\n');
  for (const unit of MASKED_UNITS) {
    const file = path.join(root, "etc/systemd/system", unit);
    rmSync(file, { force: true });
    symlinkSync("/dev/null", file);
  }

  const agent = path.join(root, "usr/lib/ioreqd-lab/agent");
  await command("cc", ["-static", "-O2", "-Wall", "-o", agent, path.join(LAB_SOURCES, "dom0/agent.c")]);
  chmodSync(agent, 0o755);
  const wants = path.join(root, "etc/systemd/system/sysinit.target.wants");
  mkdirSync(wants, { recursive: true });
  for (const unit of ["lab-agent.service", "lab-journal.service"]) {
    cpSync(path.join(LAB_SOURCES, "dom0", unit), path.join(root, "etc/systemd/system", unit));
    symlinkSync(`/etc/systemd/system/${unit}`, path.join(wants, unit));
  }
}
