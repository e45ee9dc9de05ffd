// SPDX-License-Identifier: MIT
/** Text that another process wrote, for a terminal. */

/** C0 but tab and newline, DEL, C1: what a terminal acts upon instead of showing it. Source: ECMA-48. */
const ACTED_UPON = /[^\P{Cc}\t\n]/gu;

/** A process that a guest has made its own may choose what it says; it shall not choose what the reader's terminal does. */
export const printable = (text: string): string => text.replace(ACTED_UPON, "�");
