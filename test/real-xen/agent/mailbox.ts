// SPDX-License-Identifier: MIT
/** A vCPU's thread asks the main thread, and sleeps until it is answered. */

import { IoreqdError } from "../../../src/base/errors.js";

/** Words of the control block. */
const WORD = { state: 0, length: 1, count: 2 } as const;
const STATE = { asked: 0, answered: 1, failed: 2 } as const;

/** Longer than any reply: 64 KiB of RAM are 128 KiB of digits. */
const TEXT_BYTES = 1 << 20;

/** Both ends of one vCPU's questions; can be posted to a worker. */
export interface Mailbox {
  readonly control: SharedArrayBuffer;
  readonly text: SharedArrayBuffer;
  readonly port: Questions;
}

interface Questions {
  postMessage(question: string): void;
}

export const mailboxMemory = (): Omit<Mailbox, "port"> => ({
  control: new SharedArrayBuffer(WORD.count * 4),
  text: new SharedArrayBuffer(TEXT_BYTES),
});

/** The vCPU's end. */
export class MailboxCaller {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #port: Questions;

  constructor({ control, text, port }: Mailbox) {
    this.#words = new Int32Array(control);
    this.#bytes = new Uint8Array(text);
    this.#port = port;
  }

  /** Throws what the main thread failed with. */
  call(question: string): string {
    Atomics.store(this.#words, WORD.state, STATE.asked);
    this.#port.postMessage(question);
    while (Atomics.load(this.#words, WORD.state) === STATE.asked) Atomics.wait(this.#words, WORD.state, STATE.asked);
    // A copy: a TextDecoder takes no shared memory, and latin1 of a Buffer would read it twice.
    const text = Buffer.from(this.#bytes.slice(0, Atomics.load(this.#words, WORD.length))).toString("latin1");
    if (Atomics.load(this.#words, WORD.state) === STATE.answered) return text;
    const [code = "GUEST_AGENT_SILENT", message = ""] = text.split("\n");
    throw new IoreqdError(code, message);
  }
}

/** The main thread's end: wakes the vCPU with an answer, or with an error. */
export function answer({ control, text }: Omit<Mailbox, "port">, outcome: string | IoreqdError): void {
  const words = new Int32Array(control);
  const said = typeof outcome === "string" ? outcome : `${outcome.code}\n${outcome.message}`;
  const length = Buffer.from(text).write(said, "latin1");
  Atomics.store(words, WORD.length, length);
  Atomics.store(words, WORD.state, typeof outcome === "string" ? STATE.answered : STATE.failed);
  Atomics.notify(words, WORD.state);
}
