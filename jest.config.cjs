// SPDX-License-Identifier: MIT
/** Tests are compiled with everything else; jest runs the output. */
module.exports = {
  roots: ["<rootDir>/dist/test"],
  testMatch: ["**/*.test.js"],
  testTimeout: 60_000,
  maxWorkers: 2,
};
