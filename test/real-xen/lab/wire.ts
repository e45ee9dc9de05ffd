// SPDX-License-Identifier: MIT
/**
 * Frames between a client, the keeper and the agent in dom0 (dom0/agent.c has the table of kinds). The keeper adds:
 * `S` from a client ends the lab; `L` to a client says why there is no lab any more.
 */

export interface Frame {
  readonly kind: string;
  /** Which command it belongs to. */
  readonly id: number;
  readonly payload: Buffer;
}

const HEADER_BYTES = 9;

export function encodeFrame(kind: string, id: number, payload: Buffer | string = ""): Buffer {
  const bytes = Buffer.from(payload);
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(bytes.length, 0);
  header.writeUInt32LE(id, 4);
  header.write(kind, 8, "latin1");
  return Buffer.concat([header, bytes]);
}

/** Takes bytes as they come, and calls back for each whole frame. */
export function frameReader(received: (frame: Frame) => void): (data: Buffer) => void {
  let rest = Buffer.alloc(0);
  return (data) => {
    rest = Buffer.concat([rest, data]);
    while (rest.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + rest.readUInt32LE(0);
      if (rest.length < end) return;
      const frame = { kind: rest.toString("latin1", 8, 9), id: rest.readUInt32LE(4), payload: rest.subarray(9, end) };
      rest = rest.subarray(end);
      received(frame);
    }
  };
}
