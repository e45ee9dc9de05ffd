// SPDX-License-Identifier: MIT
/** Suites that want a real Xen: `npm run test:xen` boots one and says where it is in IOREQD_LAB. */
module.exports = {
  roots: ["<rootDir>/dist/test/real-xen"],
  testMatch: ["**/*.xen.js"],
  testTimeout: 600_000,
  testSequencer: "<rootDir>/dist/test/real-xen/lab/sequencer.js",
  reporters: ["<rootDir>/dist/test/real-xen/lab/reporter.js"],
};
