// SPDX-License-Identifier: MIT
/**
 * Rep requests, run by run: a run is one transaction, and goes to the end or
 * to the element whose answer comes later. What is done of a request is in its
 * record, so the next process goes on from there.
 */

import { PHASE } from "../state/format.js";
import type { Answers } from "./answers.js";
import type { EngineParts, Known } from "./parts.js";
import { isPossible, type RawRequest, RepRequest } from "./rep.js";
import type { WideAccess } from "./wide.js";

export class RepRuns {
  readonly #parts: EngineParts;
  readonly #answers: Answers;
  readonly #wide: WideAccess;

  constructor(parts: EngineParts, answers: Answers, wide: WideAccess) {
    this.#parts = parts;
    this.#answers = answers;
    this.#wide = wide;
  }

  /**
   * `done`: elements that were served before; more than there are, or less than none, where something has written into
   * the state file: then none was. `late`: the answer of the next, where it is known.
   */
  serve(request: RawRequest, done: number, late: Known | null): void {
    const { slot, type, width, count } = request;
    if (!isPossible(request)) {
      this.#answers.malformed(slot, type, width, count);
      return;
    }
    const isKnown = done >= 0 && done <= count;
    const rep = new RepRequest(request, this.#wide, isKnown ? done : 0);
    if (late !== null && isKnown && done < count) this.#resolve(rep, late.lo, late.hi);
    this.#goOn(rep);
  }

  /** The element that was outstanding is done. In this order: delivered twice it is the same, asked for twice it is not. */
  #resolve(rep: RepRequest, lo: number, hi: number): void {
    const { arena, memory, counters } = this.#parts;
    rep.resolve(lo, hi, memory, counters);
    arena.setProgress(rep.request.slot, rep.done);
  }

  /** To the end, or to the element whose answer comes later. */
  #goOn(rep: RepRequest): void {
    while (this.#run(rep)) {
      // The element was answered at once after all: the next run goes on behind it.
    }
  }

  /** Returns true when there is more to run now. */
  #run(rep: RepRequest): boolean {
    const { arena, bus, memory, counters } = this.#parts;
    const { slot } = rep.request;
    arena.begin(slot);
    try {
      rep.run(bus, memory, counters);
    } catch (error) {
      this.#answers.fail(slot, error);
      return false;
    }
    if (bus.access.outstanding === 0) {
      arena.commit(PHASE.committed, rep.replyLo, rep.replyHi);
      // Only while a rep request runs does a record tell of progress.
      arena.setProgress(slot, 0);
      bus.flush();
      this.#answers.reply(slot, rep.replyLo, rep.replyHi, false);
      this.#answers.releaseHeld();
      return false;
    }
    arena.setProgress(slot, rep.done);
    let within = true;
    let answered = false;
    this.#answers.later(slot, rep.known, (lo, hi) => {
      this.#resolve(rep, lo, hi);
      this.#answers.forget(slot);
      if (within) answered = true;
      else this.#goOn(rep);
    });
    within = false;
    return answered;
  }
}
