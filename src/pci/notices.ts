// SPDX-License-Identifier: MIT
/** What is odd, told when it begins to be so and not each time it is looked at. */

export class Notices {
  readonly #known = new Map<string, ReadonlySet<string>>();

  /** `things` of a kind are odd now: `say` those that were not the last time. */
  tell(kind: string, things: readonly string[], say: (thing: string) => void): void {
    if (things.length === 0 && !this.#known.has(kind)) return;
    const known = this.#known.get(kind);
    for (const thing of things) if (known?.has(thing) !== true) say(thing);
    if (things.length === 0) this.#known.delete(kind);
    else this.#known.set(kind, new Set(things));
  }
}
