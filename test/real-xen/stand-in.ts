// SPDX-License-Identifier: MIT
/** In the place of QEMU and the agent in dom0: runs the lab's commands on this machine. Its argument: the port's socket. */

import { type ChildProcess, spawn } from "node:child_process";
import net from "node:net";
import { encodeFrame, frameReader } from "./lab/wire.js";

const port = net.connect(process.argv[2] as string);
const commands = new Map<number, ChildProcess>();

port.write(encodeFrame("H", 0));
port.on(
  "data",
  frameReader(({ kind, id, payload }) => {
    if (kind === "K") {
      commands.get(id)?.kill(payload[0] as number);
      return;
    }
    const [file = "", ...text] = payload.toString().split("\0");
    const command = kind === "W" ? ['printf %s "$2" > "$1"', "write", file, text.join("\0")] : [file];
    const child = spawn("bash", ["-c", ...command], { stdio: ["ignore", "pipe", "pipe"] });
    commands.set(id, child);
    child.stdout.on("data", (data: Buffer) => port.write(encodeFrame("O", id, data)));
    child.stderr.on("data", (data: Buffer) => port.write(encodeFrame("E", id, data)));
    child.on("close", (status) => {
      const bytes = Buffer.alloc(4);
      bytes.writeInt32LE(status ?? -15);
      port.write(encodeFrame("X", id, bytes));
    });
  }),
);
