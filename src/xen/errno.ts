// SPDX-License-Identifier: MIT
/** From errno to an error an operator can use: the call, its arguments in words, the likely reason. */

import { constants } from "node:os";
import { IoreqdError } from "../base/errors.js";
import { XENSIM_LIBRARIES } from "../base/place.js";
import { isShortageErrno } from "../base/shortage.js";
import { simulatedLibraries, xensimSocket } from "./libraries.js";

const NAMES = new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]));
// EAGAIN and EOPNOTSUPP are the names Xen uses for numbers that have two.
for (const name of ["EAGAIN", "EOPNOTSUPP"] as const) NAMES.set(constants.errno[name], name);
// Linux has numbers that Node.js has no name for.
NAMES.set(85, "ERESTART");

/** What a lock says that another holds. */
export const { EWOULDBLOCK } = constants.errno;

/** "EPERM" for 1. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/** Reasons that hold for every call. Source: Xen arch/x86/hvm/dm.c, common/ioreq.c, common/event_channel.c. */
const REASONS: Readonly<Record<string, string>> = {
  E2BIG: "too much at once",
  EACCES: "not permitted; run as root, or give this user the device node",
  EFAULT: "memory given to Xen is not accessible",
  EINVAL: "Xen does not take these arguments",
  EMFILE: "too many open files; raise the limit",
  ENODATA: "nothing was given",
  ENOENT: "there is no such ioreq server in the domain: its number is wrong, or it was destroyed",
  ENOMEM: "out of memory",
  ENOSYS: "Xen or its privcmd driver is too old for this call",
  EOPNOTSUPP:
    "this domain or machine has no such thing: ioreq servers need an HVM or PVH guest, and Arm only knows a few calls",
  EPERM:
    "does this host control that domain? An ioreq server obeys only the domain that made it; run as root in dom0; after a restriction one domain is left",
  EPIPE: "the other side has gone",
  ESRCH: "there is no such domain, or it is being destroyed",
};

const NOT_IN_XEN = "only the simulated Xen has this call; claim the window as memory instead";

/** Reasons that hold for one call. Key: call and errno. */
const REASONS_OF_CALL: Readonly<Record<string, string>> = {
  "nr_vcpus EINVAL": "this domain has no ioreq servers: they need an HVM or PVH guest",
  "create_ioreq_server EINVAL": "this domain takes no buffered ring, as on Arm: use --bufioreq off",
  "create_ioreq_server ENOSPC":
    "the domain has its 8 ioreq servers already: end one, or reboot the guest if dead processes left theirs behind",
  "map_io_range_to_ioreq_server EEXIST": "this server has part of that range already",
  "map_io_range_to_ioreq_server EINVAL": "the end lies before the start",
  "map_io_range_to_ioreq_server ENOMEM":
    "this server has its 256 ranges of that kind already, or Xen has no memory left",
  "unmap_io_range_from_ioreq_server ENOENT": "this server has no such range, or there is no such server",
  "map_pcidev_to_ioreq_server EEXIST":
    "this server has that function already, or a process that starts just now wants it, too",
  "map_pcidev_to_ioreq_server EOPNOTSUPP": "configuration accesses come this way on x86 only",
  "unmap_pcidev_from_ioreq_server ENOENT": "this server does not have that function, or there is no such server",
  "map_mmcfg_to_ioreq_server EEXIST":
    "another server has told of this segment's window, or another segment's window is in the way",
  "map_mmcfg_to_ioreq_server EINVAL":
    "the buses are in the wrong order, the base is not aligned to them, or there is guest RAM",
  "map_mmcfg_to_ioreq_server ENOSPC": "the domain has its 8 windows already",
  "map_mmcfg_to_ioreq_server ENOSYS": NOT_IN_XEN,
  "unmap_mmcfg_from_ioreq_server ENOENT":
    "this server has told of no window in that segment, or there is no such server",
  "unmap_mmcfg_from_ioreq_server ENOSYS": NOT_IN_XEN,
  "set_ioreq_server_mmcfg ENOSYS": NOT_IN_XEN,
  "set_pci_intx_level EINVAL": "only devices 0 to 31 on bus 0 have pins, A to D; behind a bridge use the pin on bus 0",
  "set_irq_level EINVAL": "the interrupt is not a shared one (32 and up) of this domain, or is taken",
  "inject_msi EINVAL": "the guest programmed an address or data that make no interrupt",
  "inject_msi ERANGE": "the guest programmed an interrupt number that it does not have",
  "inject_event EBUSY": "another event is already waiting for that vCPU",
  "map_resource EINVAL": "this kernel or domain cannot map an ioreq server's pages; Linux 4.18 and Xen 4.11 can",
  "map_resource ENOENT": "there is no such ioreq server, or it was made without the ring that is asked for",
  "bind_interdomain EINVAL":
    "the channel is not waiting for us: another process serves this domain already; end that one first",
  "bind_interdomain ENOENT": "the domain has no such channel",
  "notify ENOTCONN": "this process has not bound that port",
  "unbind ENOTCONN": "this process has not bound that port",
  "unmask ENOTCONN": "this process has not bound that port",
  "posix_fallocate EDQUOT": "the quota of that file system is used up: make room there, or name another --state-dir",
  "posix_fallocate ENOSPC": "that file system is full: make room there, or name another --state-dir",
  "mmap EACCES": "the file was not opened for that",
  "mmap ENOMEM": "no room in this process's address space, or too many mappings",
};

/** Where the server has to tell cases apart, the code does it. */
const CODES: Readonly<Record<string, string>> = {
  "map_io_range_to_ioreq_server EEXIST": "XEN_RANGE_TAKEN",
  "map_pcidev_to_ioreq_server EEXIST": "XEN_RANGE_TAKEN",
  "map_mmcfg_to_ioreq_server EEXIST": "XEN_RANGE_TAKEN",
  "bind_interdomain EINVAL": "XEN_PORT_TAKEN",
};

/** Details of a call, as they stand in the message: `domid 7, ports 0x505-0x505`. */
export type CallArguments = Readonly<Record<string, string | number>>;

/**
 * The error for a call that set errno: XEN_DOMAIN_GONE, XEN_RANGE_TAKEN, XEN_PORT_TAKEN, and
 * XEN_CALL_FAILED for all else. `details.errno` has the name.
 *
 * errno comes first, so that it is read first: to work out the other arguments V8 may compile something, and take a lock
 * that leaves an errno of its own.
 */
export function callFailed(errno: number, call: string, args: CallArguments): IoreqdError {
  const name = errnoName(errno);
  const key = `${call} ${name}`;
  const words = Object.entries(args).map(([what, value]) => `${what} ${value}`);
  const reason = REASONS_OF_CALL[key] ?? REASONS[name];
  const code = CODES[key] ?? (name === "ESRCH" ? "XEN_DOMAIN_GONE" : "XEN_CALL_FAILED");
  const message = `${call}(${words.join(", ")}): ${name}${reason === undefined ? "" : ` (${reason})`}`;
  return new IoreqdError(code, message, { call, ...args, errno: name });
}

/** The library has no such function: XEN_CALL_FAILED with ENOSYS. */
export const callMissing = (call: string, args: CallArguments): IoreqdError =>
  callFailed(constants.errno.ENOSYS, call, args);

/** The handle was closed by this process. A mistake in the caller. */
export function closedHandle(what: string): IoreqdError {
  return new IoreqdError("XEN_CLOSED", `${what} used after it was closed`, { what });
}

export interface DeviceNode {
  readonly node: string;
  readonly module: string;
}

/** What each library opens. */
export const PRIVCMD: DeviceNode = { node: "/dev/xen/privcmd", module: "xen-privcmd" };
export const EVTCHN: DeviceNode = { node: "/dev/xen/evtchn", module: "xen-evtchn" };

/** A library could not be opened: which node it wants, and how to get it. XEN_OPEN_FAILED. */
export function openFailed(errno: number, call: string, { node, module }: DeviceNode): IoreqdError {
  const name = errnoName(errno);
  const socket = xensimSocket();
  if (socket !== undefined) {
    const advice = isShortageErrno(name)
      ? REASONS[name]
      : simulatedLibraries()
        ? `the simulated host at ${socket} does not answer: has it ended? XENSIM_SOCKET names its socket`
        : `XENSIM_SOCKET is set, but the libraries loaded are not those of the simulated host: npm run build makes them in ${XENSIM_LIBRARIES}`;
    return new IoreqdError("XEN_OPEN_FAILED", `${call}: ${name} (${advice})`, { call, socket, errno: name });
  }
  return new IoreqdError(
    "XEN_OPEN_FAILED",
    `${call}: ${node}: ${name} (${nodeAdvice(name, node, module)}); ioreqd doctor tells what this host lacks`,
    {
      call,
      node,
      errno: name,
    },
  );
}

function nodeAdvice(name: string, node: string, module: string): string {
  switch (name) {
    case "ENOENT":
      return `there is no such node: is this dom0? Try modprobe ${module}. Without Xen, run on the simulated host: ioreqd demo`;
    case "ENODEV":
    case "ENXIO":
      return `the node is there and nothing behind it: this kernel does not run on Xen, or modprobe ${module} is missing`;
    case "EACCES":
    case "EPERM":
      return `not permitted: run as root, or give this user ${node}`;
    default:
      return REASONS[name] ?? "unexpected";
  }
}
