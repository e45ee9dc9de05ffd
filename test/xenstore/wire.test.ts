// SPDX-License-Identifier: MIT
/** The protocol's numbers, against Xen's own header. */

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { HEADER_SIZE, PATH_MAX, PAYLOAD_MAX, XS } from "../../src/xenstore/wire.js";
import { withDirectory } from "../support/ioreqd.js";
import { testJudgedBy } from "../support/judges.js";

/** getDomainPath: XS_GET_DOMAIN_PATH. */
const nameInC = (name: string): string => `XS_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;

testJudgedBy("libxen-dev")("types and limits equal those of xs_wire.h", () =>
  withDirectory((directory) => {
    const numbers = [...Object.keys(XS).map(nameInC), "sizeof(struct xsd_sockmsg)", "XENSTORE_PAYLOAD_MAX"];
    const print = [...numbers, "XENSTORE_ABS_PATH_MAX"].map((number) => `printf("%d\\n", (int)${number});`).join("\n");
    const [source, program] = [join(directory, "numbers.c"), join(directory, "numbers")];
    const headers = "#include <errno.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <xen/io/xs_wire.h>\n";
    writeFileSync(source, `${headers}int main(void) { ${print} return 0; }\n`);
    execFileSync(process.env["CC"] ?? "cc", ["-o", program, source]);
    const printed = execFileSync(program, { encoding: "utf8" }).trim().split("\n").map(Number);
    expect(printed).toEqual([...Object.values(XS), HEADER_SIZE, PAYLOAD_MAX, PATH_MAX]);
  }),
);
