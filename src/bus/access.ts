// SPDX-License-Identifier: MIT
/**
 * The access being served, for the one case in which it can't be answered at
 * once: a register whose handler answers later.
 *
 * Nothing here is touched on the way of an ordinary access.
 */

/** Give the value (int32) of a read, or 0 for a write. A second call does nothing. */
export type Reply = (value: number) => void;

export class Access {
  /** Parts of the current access that still have no answer. */
  outstanding = 0;
  /** Byte position, within the access's 8 data bytes, of the part being served. */
  position = 0;
  #late: LateAccess | null = null;
  /** Taken over, and not answered whole yet: one a vCPU. */
  readonly #taken = new Set<LateAccess>();

  /** Called by `owner` for one of its registers: this part will be answered by the function returned. */
  later(shift: number, mask: number, owner: object): Reply {
    this.outstanding += 1;
    this.#late ??= new LateAccess();
    return this.#late.part(this.position, shift, mask, owner);
  }

  /** Before every access: forget the last one. Cheap when nothing is late. */
  begin(): void {
    if (this.outstanding === 0) return;
    this.outstanding = 0;
    this.#late = null;
  }

  /**
   * Take the late access over: `done(lo, hi)` is called once all its parts are
   * answered, with the bits they gave, to be or-ed into the bits known already; or `again()`, when who owes a part
   * has been replaced.
   */
  take(done: (lo: number, hi: number) => void, again: () => void): void {
    const late = this.#late;
    this.outstanding = 0;
    this.#late = null;
    if (late === null) return;
    this.#taken.add(late);
    late.again = () => {
      this.#taken.delete(late);
      again();
    };
    late.start((lo, hi) => {
      this.#taken.delete(late);
      done(lo, hi);
    });
  }

  /** What `owner` still owes another owes now: those accesses are made once more. */
  replace(owner: object): void {
    for (const late of [...this.#taken]) if (late.owes(owner)) late.again();
  }

  /** What `owner` still owes is all-ones: it has gone. */
  abandon(owner: object): void {
    for (const late of [...this.#taken]) late.abandon(owner);
  }
}

class LateAccess {
  readonly #data = new DataView(new ArrayBuffer(16));
  readonly #owed: Array<{ owner: object; reply: Reply }> = [];
  again: () => void = () => {};
  #waiting = 0;
  #done: ((lo: number, hi: number) => void) | null = null;

  part(position: number, shift: number, mask: number, owner: object): Reply {
    this.#waiting += 1;
    let answered = false;
    const reply: Reply = (value) => {
      if (answered) return;
      answered = true;
      const at = this.#data.getInt32(position, true);
      const bits = value & mask;
      this.#data.setInt32(position, at | (shift >= 0 ? bits << shift : bits >>> -shift), true);
      this.#waiting -= 1;
      this.#finish();
    };
    this.#owed.push({ owner, reply });
    return reply;
  }

  owes(owner: object): boolean {
    return this.#done !== null && this.#owed.some((part) => part.owner === owner);
  }

  abandon(owner: object): void {
    for (const part of this.#owed) if (part.owner === owner) part.reply(-1);
  }

  start(done: (lo: number, hi: number) => void): void {
    this.#done = done;
    this.#finish();
  }

  #finish(): void {
    if (this.#waiting > 0 || this.#done === null) return;
    const done = this.#done;
    this.#done = null;
    done(this.#data.getInt32(0, true), this.#data.getInt32(4, true));
  }
}
