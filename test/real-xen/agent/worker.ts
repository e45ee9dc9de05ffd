// SPDX-License-Identifier: MIT
/** The thread of one vCPU of a real guest: runs the guest program, tells how it ended. */

import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { IoreqdError } from "../../../src/base/errors.js";
import type { VcpuReport } from "../../../src/sim/cpu.js";
import type { GuestCpu } from "../../../src/sim/guest.js";
import { failureOf, type VcpuOutcome } from "../../../src/sim/vcpu-outcome.js";
import { RemoteCpu, type RemotePlace } from "./remote-cpu.js";

export interface RemoteTask {
  readonly place: Omit<RemotePlace, "mailbox"> & { readonly mailbox: Omit<RemotePlace["mailbox"], "port"> };
  /** A module whose default export is the program; compiled JavaScript. */
  readonly file: string;
}

export type RemoteMessage =
  | { readonly kind: "ask"; readonly question: string }
  | VcpuReport
  | { readonly kind: "ended"; readonly outcome: VcpuOutcome };

const { place, file } = workerData as RemoteTask;
const main = parentPort as MessagePort;
const say = (message: RemoteMessage): void => main.postMessage(message);

async function run(): Promise<VcpuOutcome> {
  const { default: program } = require(file) as { default: (cpu: GuestCpu) => unknown };
  const port = { postMessage: (question: string) => say({ kind: "ask", question }) };
  const value = await program(new RemoteCpu({ ...place, mailbox: { ...place.mailbox, port } }, say));
  if (value === undefined || value === 0) return { vcpu: place.vcpu, state: "finished" };
  throw new IoreqdError("GUEST_FAILED", `the guest program returned ${String(value)}`, { value });
}

run()
  .catch((error: unknown) => failureOf(place.vcpu, error))
  .then((outcome) => {
    say({ kind: "ended", outcome });
    main.close();
  });
