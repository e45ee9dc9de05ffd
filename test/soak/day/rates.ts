// SPDX-License-Identifier: MIT
/** What a day brings, as this soak assumes it: a guest whose console and management devices are in steady use. */

/** Simulated seconds of a tick, the guest's unit of work. */
export const TICK_S = 30;
export const TICKS_PER_HOUR = 3600 / TICK_S;

/** In each tick. */
export const PER_TICK = {
  counterReads: 30,
  liveChecks: 10,
  configReads: 10,
  messages: 8,
  serialBytes: 300,
  bufferedWrites: 60,
  repElements: 64,
  /** To the card and back, of a page; each way takes a second of the device's time. */
  copies: 1,
  /** Each takes a second of the device's time, and interrupts. */
  computations: 1,
  /** A transfer that the card refuses: a line in the log. */
  mistakes: 1,
} as const;

/** Ticks from one to the next. */
export const EVERY = { move: 10, reset: 120 } as const;

/** Simulated minutes from one to the next. */
export const EVERY_MINUTES = { command: 1, client: 5, hotPlug: 15 } as const;

/** This share of the time one process serves, whose memory is judged; from then on one takes over from the other, every hour. */
export const UNTIL_TAKEOVERS = 0.75;
export const TAKEOVER_EVERY_H = 1;

/** Where in guest memory it says how many ticks it has done: 32 bits. */
export const DONE_AT = 0x1000;
