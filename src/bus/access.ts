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

  /** Called by a register: this part will be answered by the function returned. */
  later(shift: number, mask: number): Reply {
    this.outstanding += 1;
    this.#late ??= new LateAccess();
    return this.#late.part(this.position, shift, mask);
  }

  /** Before every access: forget the last one. Cheap when nothing is late. */
  begin(): void {
    if (this.outstanding === 0) return;
    this.outstanding = 0;
    this.#late = null;
  }

  /**
   * Take the late access over: `done(lo, hi)` is called once all its parts are
   * answered, with the bits they gave, to be or-ed into the bits known already.
   */
  take(done: (lo: number, hi: number) => void): void {
    const late = this.#late;
    this.outstanding = 0;
    this.#late = null;
    late?.start(done);
  }
}

class LateAccess {
  readonly #data = new DataView(new ArrayBuffer(16));
  #waiting = 0;
  #done: ((lo: number, hi: number) => void) | null = null;

  part(position: number, shift: number, mask: number): Reply {
    this.#waiting += 1;
    let answered = false;
    return (value) => {
      if (answered) return;
      answered = true;
      const at = this.#data.getInt32(position, true);
      const bits = value & mask;
      this.#data.setInt32(position, at | (shift >= 0 ? bits << shift : bits >>> -shift), true);
      this.#waiting -= 1;
      this.#finish();
    };
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
