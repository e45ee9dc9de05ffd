// SPDX-License-Identifier: MIT
/** What an operator gets wrong about the devices of a running guest. */

import { end, IDLE, whileServed } from "../support/running.js";

const clean = { ok: true, problems: [], leftovers: { servers: 0, clients: 0, mappedPages: 0 } };

test("what is wrong is refused with the words of the command line, and nothing is left behind", async () => {
  const result = await whileServed(IDLE, ["-D", "counter,id=first", "-D", "edu,addr=00:12.0"], async (running) => {
    await running.step("up");
    const before = running.open(); // nobody has asked yet
    const devices = await running.ask("device.list");
    const refusals: Array<[action: "add" | "remove", words: string, message: RegExp]> = [
      ["add", "edo", /DEVICE_UNKNOWN: device add edo: there is no device "edo"; did you mean edu\?/],
      [
        "add",
        "edu,dealy=1",
        /DEVICE_SPEC_INVALID: device add edu,dealy=1: edu has no option "dealy"; did you mean delay\?/,
      ],
      ["add", "edu,delay=-1", /DEVICE_SPEC_INVALID: .* delay is "-1"; a whole number from 0 to 10000 was expected/],
      ["add", "edu,addr=00:10.0", /SLOT_TAKEN: edu is to be at 0000:00:10\.0, where counter is already/],
      ["add", "edu,addr=00:13.2", /NO_FUNCTION_0: edu is function 2 of a device without function 0/],
      ["add", "edu,addr=03:00.0", /BUS_UNKNOWN: edu is to be at 0000:03:00\.0/],
      ["add", "edu,id=first", /ID_TAKEN: two devices have id=first/],
      ["add", "edu,id=a.b", /DEVICE_SPEC_INVALID: .* id is "a\.b"; up to 32 letters, digits, - and _ were expected/],
      ["add", "edu,romfile=/nonexistent", /DEVICE_SPEC_INVALID: .* romfile cannot be read/],
      ["add", "pci-serial,chardev=ptty", /DEVICE_SPEC_INVALID: .* did you mean pty\?/],
      ["add", "pci-serial,chardev=unix:/nonexistent/s", /CHARDEV_FAILED: chardev unix:\/nonexistent\/s: ENOENT/],
      ["add", "edu,bus=second", /BUS_UNKNOWN: edu is to be on bus=second, but no device has that id/],
      ["remove", "00:13.0", /DEVICE_ABSENT: there is no device of ours at 0000:00:13\.0/],
      ["remove", "00:13", /BAD_VALUE: "00:13" is no PCI address/],
      ["remove", "second", /DEVICE_ABSENT: there is no device with the id "second"; there are: first/],
    ];
    const answers = await Promise.all(refusals.map(([action, words]) => running.device(action, [words])));
    answers.forEach(({ status, stderr }, i) => {
      expect(stderr).toMatch((refusals[i] as (typeof refusals)[number])[2]);
      expect(status).toBe(1);
    });
    expect(await running.ask("device.list")).toEqual(devices);
    expect(await running.openIn(before)).toEqual(before);
    await running.ask("device.add", { spec: "counter,addr=00:12.1" });
    const { stderr } = await running.device("remove", ["00:12.0"]);
    expect(stderr).toMatch(
      /NO_FUNCTION_0: 0000:00:12\.0 edu is function 0, without which no guest would find 0000:00:12\.1 counter/,
    );
    await end(running);
  });
  expect(result).toMatchObject(clean);
});

test("where nobody serves, it says so", async () => {
  const result = await whileServed(IDLE, ["-D", "counter"], async (running) => {
    await running.step("up");
    const [unserved, unknown] = await Promise.all([
      running.device("list", [], { guest: "7" }),
      running.device("list", [], { guest: "guset" }),
    ]);
    expect(unserved?.stderr).toMatch(/CONTROL_UNREACHABLE: nobody answers at .*\/7\/control: .*ENOENT/);
    expect(unknown?.stderr).toMatch(/DOMAIN_UNKNOWN: there is no domain called "guset"; did you mean guest\?/);
    await end(running);
  });
  expect(result).toMatchObject(clean);
});
