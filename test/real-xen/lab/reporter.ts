// SPDX-License-Identifier: MIT
/** Tells of each test as it starts and ends: one may take a minute, and a run ten. */

import { writeFileSync } from "node:fs";
import type {
  AggregatedResult,
  Config,
  Reporter,
  Test,
  TestCaseResult,
  TestContext,
  TestResult,
} from "@jest/reporters";
import type { SuiteResult } from "./failures.js";
import { labDirectory, labFiles } from "./lab-files.js";
import { step } from "./progress.js";

const MARKS: Readonly<Record<string, string>> = { passed: "ok  ", failed: "FAIL", pending: "skip" };

export default class LabReporter implements Partial<Reporter> {
  constructor(readonly config: Config.GlobalConfig) {}

  onTestCaseResult(_test: Test, result: TestCaseResult): void {
    const seconds = ((result.duration ?? 0) / 1000).toFixed(1);
    step(`${MARKS[result.status] ?? result.status} ${result.fullName} (${seconds} s)`);
    for (const message of result.failureMessages) process.stderr.write(`${message}\n`);
  }

  onTestResult(_test: Test, result: TestResult): void {
    // A suite that fails outside of its tests: it does not load, or its beforeAll throws.
    if (result.testExecError !== undefined && result.failureMessage) process.stderr.write(`${result.failureMessage}\n`);
  }

  onRunComplete(_contexts: Set<TestContext>, { testResults }: AggregatedResult): void {
    const results = testResults.map((suite): SuiteResult => {
      const tests = suite.testResults.filter(({ status }) => status === "failed");
      const failures = tests.map(({ fullName, failureMessages }) => ({
        test: fullName,
        why: failureMessages.join("\n"),
      }));
      if (suite.testExecError) failures.push({ test: "(outside of its tests)", why: suite.failureMessage ?? "" });
      return { file: suite.testFilePath, passed: suite.numPassingTests, failures };
    });
    writeFileSync(labFiles(labDirectory()).results, JSON.stringify(results));
  }
}
