//! Each format by a report of the shape that its tools write, and reports that are broken or made to harm.

use pipewright_reports::{
    CASES_MAX, Case, Coverage, Format, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, Report, Status, Tests, read,
};

fn tests(format: Format, text: &str) -> Tests {
    match read(format, text.as_bytes()).unwrap_or_else(|mistake| panic!("{mistake}\n{text}")) {
        Report::Tests(tests) => tests,
        Report::Coverage(_) => panic!("{format:?} is no format of tests"),
    }
}

fn coverage(format: Format, text: &str) -> Coverage {
    match read(format, text.as_bytes()).unwrap_or_else(|mistake| panic!("{mistake}\n{text}")) {
        Report::Coverage(coverage) => coverage,
        Report::Tests(_) => panic!("{format:?} is no format of coverage"),
    }
}

/// A case on one line: `STATUS SUITE|PREFIX|NAME, milliseconds, FILE:LINE: MESSAGE`.
fn shown(case: &Case) -> String {
    let status = match case.status {
        Status::Succeeded => "ok",
        Status::Failed => "failed",
        Status::Error => "error",
        Status::Skipped => "skipped",
        Status::Unknown => "unknown",
    };
    let mut text = format!("{status} {}|{}|{}", case.suite, case.prefix, case.name);
    if let Some(duration) = case.duration_ns {
        text += &format!(", {} ms", duration / 1_000_000);
    }
    if let Some(file) = &case.file {
        text += &format!(", {file}:{}", case.line.unwrap_or(0));
    }
    if !case.message.is_empty() {
        text += &format!(": {}", case.message.replace('\n', "⏎"));
    }
    text
}

fn check_tests(format: Format, text: &str, expected: &[&str]) {
    let tests = tests(format, text);
    assert_eq!(tests.cases.iter().map(shown).collect::<Vec<_>>(), expected, "{text}");
    assert_eq!(tests.counts.total(), expected.len() as u64);
}

/// Files as `PATH lines COVERED/TOTAL branches COVERED/TOTAL`.
fn check_coverage(format: Format, text: &str, expected: &[&str]) {
    let files = coverage(format, text).files;
    let shown = files.iter().map(|(path, it)| {
        format!("{path} {}/{} {}/{}", it.lines.covered, it.lines.total, it.branches.covered, it.branches.total)
    });
    assert_eq!(shown.collect::<Vec<_>>(), expected, "{text}");
}

fn check_mistake(format: Format, report: &[u8], expected: &str) {
    let mistake = read(format, report).expect_err("a mistake").to_string();
    assert!(mistake.contains(expected), "{mistake}");
}

#[test]
fn junit() {
    let text = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="all">
  <testsuite name="app.Math" tests="6">
    <properties><property name="name" value="x"/></properties>
    <testcase name="adds" classname="app.Math" time="0.25" file="src/math.py" line="12"/>
    <testcase name="divides" classname="app.Math" time="1,234.5">
      <failure message="expected 2 &lt; 3" type="AssertionError">at Math.divides(Math.java:7)</failure>
      <system-out><![CDATA[<testcase name="not one"/>]]></system-out>
    </testcase>
    <testcase name="opens" classname="app.Math"><error type="IOError">no file&#10;at x</error></testcase>
    <testcase name="later" classname="app.Math"><skipped message="not yet"/></testcase>
    <testcase name="off" status="disabled"/>
    <testsuite name="inner"><testcase name="two"><failure>a</failure><failure message="b"/></testcase></testsuite>
  </testsuite>
</testsuites>"#;
    let expected = [
        "ok app.Math|app.Math|adds, 250 ms, src/math.py:12",
        "failed app.Math|app.Math|divides, 1234500 ms: expected 2 < 3⏎at Math.divides(Math.java:7)",
        "error app.Math|app.Math|opens: no file⏎at x",
        "skipped app.Math|app.Math|later: not yet",
        "skipped app.Math||off",
        "failed inner||two: a⏎b",
    ];
    check_tests(Format::JunitXml, text, &expected);
    check_tests(Format::JunitXml, "<testsuite name='s'><testcase name='ä'/></testsuite>", &["ok s||ä"]);
    check_tests(Format::JunitXml, "\u{feff}<testsuites/>", &[]);
    let rerun = "<testsuite><testcase name='a'><flakyFailure>x</flakyFailure></testcase></testsuite>";
    check_tests(Format::JunitXml, rerun, &["ok ||a"]);
}

#[test]
fn nunit_2() {
    let text = r#"<test-results name="app.dll" total="4">
  <test-suite type="Assembly" name="app.dll"><results>
    <test-suite type="TestFixture" name="MathTests"><results>
      <test-case name="App.MathTests.Adds" executed="True" result="Success" success="True" time="0.016"/>
      <test-case name="App.MathTests.Divides" executed="True" result="Failure" success="False" time="0.5">
        <failure><message><![CDATA[Expected: 2]]></message><stack-trace><![CDATA[at Divides()]]></stack-trace></failure>
      </test-case>
      <test-case name="App.MathTests.Later" executed="False" result="Ignored">
        <reason><message>not yet</message></reason>
      </test-case>
      <test-case name="App.MathTests.Old" executed="True" success="True"/>
    </results></test-suite>
    <failure><message>a suite's own</message></failure>
    <test-case name="App.Bad" result="Error"/>
    <test-case name="App.Open" result="Inconclusive"/>
  </results></test-suite>
</test-results>"#;
    let expected = [
        "ok MathTests||App.MathTests.Adds, 16 ms",
        "failed MathTests||App.MathTests.Divides, 500 ms: Expected: 2⏎at Divides()",
        "skipped MathTests||App.MathTests.Later: not yet",
        "ok MathTests||App.MathTests.Old",
        "error app.dll||App.Bad",
        "unknown app.dll||App.Open",
    ];
    check_tests(Format::NunitXml, text, &expected);
}

#[test]
fn nunit_3() {
    let text = r#"<test-run id="2" testcasecount="4" result="Failed">
  <test-suite type="TestFixture" name="MathTests" fullname="App.MathTests">
    <test-case id="1" name="Adds" fullname="App.MathTests.Adds" classname="App.MathTests" result="Passed" duration="0.0021"/>
    <test-case id="2" name="Divides" classname="App.MathTests" result="Failed" duration="0.1">
      <failure><message>Expected: 2</message><stack-trace>at Divides()</stack-trace></failure>
    </test-case>
    <test-case id="3" name="Opens" classname="App.MathTests" result="Failed" label="Error"/>
    <test-case id="4" name="Later" classname="App.MathTests" result="Skipped" label="Ignored">
      <reason><message>not yet</message></reason>
    </test-case>
  </test-suite>
</test-run>"#;
    let expected = [
        "ok App.MathTests|App.MathTests|Adds, 2 ms",
        "failed App.MathTests|App.MathTests|Divides, 100 ms: Expected: 2⏎at Divides()",
        "error App.MathTests|App.MathTests|Opens",
        "skipped App.MathTests|App.MathTests|Later: not yet",
    ];
    check_tests(Format::Nunit3Xml, text, &expected);
}

#[test]
fn testng() {
    let text = r#"<testng-results skipped="1" failed="1" passed="1">
  <suite name="Suite"><test name="Unit"><class name="app.MathTest">
    <test-method status="PASS" signature="setUp()" name="setUp" is-config="true" duration-ms="3"/>
    <test-method status="PASS" name="adds" duration-ms="15"/>
    <test-method status="FAIL" name="divides" duration-ms="7">
      <exception class="java.lang.AssertionError">
        <message><![CDATA[expected [2]]]></message>
        <full-stacktrace><![CDATA[java.lang.AssertionError: expected [2]
at app.MathTest]]></full-stacktrace>
      </exception>
    </test-method>
    <test-method status="SKIP" name="later" duration-ms="0"/>
    <test-method status="FAIL" name="tearDown" is-config="true"/>
  </class></test></suite>
</testng-results>"#;
    let expected = [
        "ok Suite / Unit|app.MathTest|adds, 15 ms",
        "failed Suite / Unit|app.MathTest|divides, 7 ms: expected [2]⏎java.lang.AssertionError: expected [2]⏎at app.MathTest",
        "skipped Suite / Unit|app.MathTest|later, 0 ms",
        "failed Suite / Unit|app.MathTest|tearDown",
    ];
    check_tests(Format::TestngXml, text, &expected);
}

#[test]
fn trx() {
    let text = r#"<?xml version="1.0" encoding="utf-8"?>
<TestRun id="1" xmlns="http://microsoft.com/schemas/VisualStudio/TeamTest/2010">
  <Results>
    <UnitTestResult testId="a" testName="Adds" outcome="Passed" duration="00:00:01.2500000"/>
    <UnitTestResult testId="b" testName="Divides" outcome="Failed" duration="01:02:03">
      <Output><StdOut>x</StdOut><ErrorInfo><Message>Assert failed</Message><StackTrace>at Divides()</StackTrace></ErrorInfo></Output>
    </UnitTestResult>
    <UnitTestResult testId="c" testName="Rows" outcome="Failed">
      <InnerResults>
        <UnitTestResult testId="c" testName="Rows (1)" outcome="Passed"/>
        <UnitTestResult testId="c" testName="Rows (2)" outcome="Timeout"/>
      </InnerResults>
    </UnitTestResult>
    <UnitTestResult testId="d" testName="Later" outcome="NotExecuted"/>
    <UnitTestResult testId="e" testName="Open" outcome="Inconclusive"/>
  </Results>
  <TestDefinitions>
    <UnitTest name="Adds" id="a" storage="app.dll"><TestMethod className="App.MathTests" name="Adds"/></UnitTest>
    <UnitTest name="Divides" id="b" storage="app.dll"><TestMethod className="App.MathTests" name="Divides"/></UnitTest>
  </TestDefinitions>
</TestRun>"#;
    let expected = [
        "ok app.dll|App.MathTests|Adds, 1250 ms",
        "failed app.dll|App.MathTests|Divides, 3723000 ms: Assert failed⏎at Divides()",
        "ok ||Rows (1)",
        "error ||Rows (2)",
        "skipped ||Later",
        "unknown ||Open",
    ];
    check_tests(Format::VisualStudioTrx, text, &expected);
    let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert_eq!(read(Format::VisualStudioTrx, &wide), read(Format::VisualStudioTrx, text.as_bytes()));
    check_tests(
        Format::VisualStudioTrx,
        "<TestRun><UnitTestResult testName='x' outcome='Passed' duration='1.00:00:00'/></TestRun>",
        &["ok ||x, 86400000 ms"],
    );
}

#[test]
fn cucumber() {
    let text = r#"[{"uri": "features/math.feature", "name": "Math", "elements": [
  {"type": "background", "name": "", "line": 3, "steps": [
    {"keyword": "Given ", "name": "a machine", "result": {"status": "passed", "duration": 1000000}}]},
  {"type": "scenario", "name": "adds", "line": 6, "before": [{"result": {"status": "passed", "duration": 1000000}}], "steps": [
    {"keyword": "When ", "name": "it adds", "line": 7, "result": {"status": "passed", "duration": 2000000}}]},
  {"type": "scenario", "name": "divides", "line": 9, "steps": [
    {"keyword": "When ", "name": "it divides", "result": {"status": "failed", "duration": 5, "error_message": "by zero"}},
    {"keyword": "Then ", "name": "more", "result": {"status": "skipped"}}]},
  {"type": "scenario", "name": "later", "line": 12, "steps": [{"keyword": "When ", "name": "x", "result": {"status": "pending"}}]},
  {"type": "scenario", "name": "unknown", "line": 15, "steps": [{"keyword": "When ", "name": "y", "result": {"status": "undefined"}}]},
  {"keyword": "Scenario", "name": "empty", "line": 18}
]}]"#;
    let expected = [
        "ok Math||adds, 4 ms, features/math.feature:6",
        "failed Math||divides, 0 ms, features/math.feature:9: When it divides (failed)⏎by zero",
        "skipped Math||later, 0 ms, features/math.feature:12: When x (pending)",
        "unknown Math||unknown, 0 ms, features/math.feature:15: When y (undefined)",
        "ok Math||empty, 0 ms, features/math.feature:18",
    ];
    check_tests(Format::CucumberJson, text, &expected);
    check_tests(Format::CucumberJson, "[]", &[]);
}

#[test]
fn lcov() {
    let text = "TN:\nSF:src/a.js\nFN:1,f\nFNDA:1,f\nDA:1,5\nDA:2,0,abc\nDA:3,1\nBRDA:1,0,0,1\nBRDA:1,0,1,-\nLF:3\nLH:2\nend_of_record\n\
                SF:src/b.js\nLF:10\nLH:4\nBRF:2\nBRH:1\nend_of_record\nSF:src/a.js\nDA:2,1\nend_of_record\n";
    check_coverage(Format::Lcov, text, &["src/a.js 3/3 1/2", "src/b.js 4/10 1/2"]);
    check_coverage(Format::Lcov, "", &[]);
    check_mistake(Format::Lcov, b"SF:a\nDA:x,1\n", "line 2: `DA:x,1` is no record of LCOV");
    check_mistake(Format::Lcov, b"<coverage/>", "line 1: `<coverage/>` is no record");
    check_mistake(Format::Lcov, b"TN:x\n", "no `SF:` record");
}

#[test]
fn cobertura() {
    let text = r#"<?xml version="1.0"?>
<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">
<coverage line-rate="0.5"><sources><source>.</source></sources><packages><package name="p"><classes>
  <class name="A" filename="p/a.py">
    <methods><method name="f"><lines><line number="1" hits="9"/></lines></method></methods>
    <lines>
      <line number="1" hits="1"/>
      <line number="2" hits="0"/>
      <line number="3" hits="4" branch="true" condition-coverage="50% (1/2)"/>
    </lines>
  </class>
  <class name="A$B" filename="p/a.py"><lines><line number="2" hits="1"/><line number="3" hits="1" condition-coverage="100% (2/2)"/></lines></class>
</classes></package></packages></coverage>"#;
    check_coverage(Format::CoberturaXml, text, &["p/a.py 3/3 2/2"]);
}

#[test]
fn jacoco() {
    let text = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<!DOCTYPE report PUBLIC "-//JACOCO//DTD Report 1.1//EN" "report.dtd">
<report name="app">
  <package name="com/app">
    <class name="com/app/A" sourcefilename="A.java"><counter type="LINE" missed="9" covered="9"/></class>
    <sourcefile name="A.java">
      <line nr="3" mi="0" ci="3" mb="1" cb="1"/>
      <counter type="INSTRUCTION" missed="5" covered="8"/>
      <counter type="LINE" missed="1" covered="3"/>
      <counter type="BRANCH" missed="1" covered="1"/>
    </sourcefile>
    <counter type="LINE" missed="1" covered="3"/>
  </package>
</report>"#;
    check_coverage(Format::JacocoXml, text, &["com/app/A.java 3/4 1/2"]);
}

#[test]
fn clover() {
    let text = r#"<coverage generated="1"><project timestamp="1"><package name="p">
  <file name="a.php" path="/app/p/a.php">
    <line num="3" type="method" name="f" count="1"/>
    <line num="4" type="stmt" count="0"/>
    <line num="5" type="cond" truecount="2" falsecount="0"/>
    <metrics statements="2"/>
  </file>
</package><file name="b.php"><line num="1" type="stmt" count="7"/></file></project></coverage>"#;
    check_coverage(Format::CloverXml, text, &["/app/p/a.php 2/3 1/2", "b.php 1/1 0/0"]);
}

#[test]
fn simplecov() {
    let result_set = r#"{"RSpec": {"coverage": {"/app/a.rb": {"lines": [null, 1, 0, 3],
        "branches": {"[:if, 0, 2, 0, 4, 3]": {"[:then, 1, 3, 0, 3, 4]": 0, "[:else, 2, 2, 0, 4, 3]": 1}}}}, "timestamp": 1},
        "Cucumber": {"coverage": {"/app/a.rb": {"lines": [null, 0, 2, 0]}, "/app/old.rb": [1, null, 0]}, "timestamp": 2}}"#;
    check_coverage(Format::SimpleCov, result_set, &["/app/a.rb 3/3 1/2", "/app/old.rb 1/2 0/0"]);
    let formatted = r#"{"meta": {"simplecov_version": "0.21.2"}, "coverage": {"/app/a.rb": {"lines": [1, null, 0, "ignored"],
        "branches": [{"type": "then", "start_line": 1, "coverage": 1}, {"type": "else", "coverage": 0}]}}}"#;
    check_coverage(Format::SimpleCov, formatted, &["/app/a.rb 1/2 1/2"]);
    check_mistake(Format::SimpleCov, b"[1]", "no `coverage`");
    check_mistake(Format::SimpleCov, b"{\n\"a\": }", "line 2: the report is no JSON");
}

#[test]
fn broken_and_harmful_reports() {
    let check = |report: &str, expected| check_mistake(Format::JunitXml, report.as_bytes(), expected);
    check("", "the report is empty");
    check("<html/>", "line 1: expected <testsuites> or <testsuite>, found <html>");
    check("<testsuite>\n<testcase>", "line 2: <testcase> has no end: is the report whole?");
    check("<testsuite>\n</testcase>", "line 2: the XML is broken");
    check("<testsuite/><testsuite/>", "expected <testsuites>");
    check("<testsuite><testcase name=x/></testsuite>", "an attribute is broken");
    check("<testsuite name='&x;'/>", "an attribute is broken");
    check("<testsuite>&lol;</testsuite>", "none is expanded");
    check(&"<testsuite>".repeat(100), "more than 64 elements");
    let wide = (0..200).map(|number| format!("a{number}='x' ")).collect::<String>();
    check(&format!("<testsuite {wide}/>"), "more than 100 attributes");
    check_mistake(Format::JunitXml, &[0xfe, 0x00, 0xff], "not UTF-8");
    check_mistake(Format::JunitXml, &[0xff, 0xfe, 0x00, 0xd8], "no UTF-16");
    let laughs = r#"<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><testsuite><testcase name="a">&b;</testcase></testsuite>"#;
    check(laughs, "none is expanded");
    let file = r#"<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><testsuite name="&f;"/>"#;
    check(file, "an attribute is broken");
    check_mistake(Format::CucumberJson, "[".repeat(10_000).as_bytes(), "no JSON of Cucumber");
}

#[test]
fn many_cases_are_counted() {
    let cases = "<testcase name='x'/>".repeat(CASES_MAX + 5);
    let mut tests = tests(Format::JunitXml, &format!("<testsuite>{cases}</testsuite>"));
    assert_eq!((tests.cases.len(), tests.counts.succeeded), (CASES_MAX, CASES_MAX as u64 + 5));
    tests.extend(tests.clone());
    assert_eq!((tests.cases.len(), tests.counts.total()), (CASES_MAX, 2 * CASES_MAX as u64 + 10));
}

/// Every prefix of a report, and every report with one byte changed, is read or refused.
#[test]
fn no_report_panics() {
    let reports = [
        (
            Format::JunitXml,
            "<testsuites><testsuite name='a'><testcase name='b' time='1'><failure message='&lt;'>x<![CDATA[y]]></failure></testcase></testsuite></testsuites>",
        ),
        (
            Format::NunitXml,
            "<test-results><test-suite name='s'><test-case name='b' result='Failure'><failure><message>m</message></failure></test-case></test-suite></test-results>",
        ),
        (
            Format::VisualStudioTrx,
            "<TestRun><Results><UnitTestResult testName='x' outcome='Failed' duration='1.00:00:01.5'/></Results></TestRun>",
        ),
        (
            Format::TestngXml,
            "<testng-results><suite name='a'><test-method status='FAIL' duration-ms='18446744073709551615'/></suite></testng-results>",
        ),
        (
            Format::CucumberJson,
            r#"[{"name":"a","elements":[{"steps":[{"result":{"status":"failed","duration":1e300}}]}]}]"#,
        ),
        (
            Format::CoberturaXml,
            "<coverage><class filename='a'><line number='4294967295' hits='1' condition-coverage='50% (1/2)'/></class></coverage>",
        ),
        (
            Format::JacocoXml,
            "<report><package name='p'><sourcefile name='a'><counter type='LINE' missed='18446744073709551615' covered='2'/></sourcefile></package></report>",
        ),
        (
            Format::CloverXml,
            "<coverage><file name='a'><line num='1' type='cond' truecount='1' falsecount='0'/></file></coverage>",
        ),
        (Format::SimpleCov, r#"{"a":{"coverage":{"f":{"lines":[1,null],"branches":{"c":{"w":1}}}}}}"#),
        (Format::Lcov, "SF:a\nDA:1,1\nBRDA:1,0,0,-\nLF:99999999999999999999\nend_of_record"),
    ];
    for (format, report) in reports {
        let bytes = report.as_bytes();
        for end in 0..=bytes.len() {
            let _ = read(format, &bytes[..end]);
        }
        for at in 0..bytes.len() {
            for byte in [0, b'<', b'>', b'&', b'"', b'/', b'9', b'-', 0xff] {
                let mut changed = bytes.to_vec();
                changed[at] = byte;
                let _ = read(format, &changed);
            }
        }
    }
}

/// Each report is small, and would come to terabytes if every part of it were looked at once more for all that is in it.
#[test]
fn what_is_repeated_costs_once() {
    let long = "x".repeat(1 << 20);
    let check = |report: String, cases: u64, name: usize, message: usize| {
        let tests = tests(Format::JunitXml, &report);
        assert_eq!(tests.counts.total(), cases);
        assert!(tests.cases.iter().all(|case| case.suite.len() == name && case.message.len() == message));
    };
    let suite = |name: &str, cases: &str| format!("<testsuite name='{name}'>{cases}</testsuite>");
    check(
        suite("s", &format!("<testcase>{}</testcase>", "<failure>a</failure>".repeat(400_000))),
        1,
        1,
        MESSAGE_BYTES_MAX,
    );
    check(suite("s", &format!("<testcase><error>{long}</error></testcase>")), 1, 1, MESSAGE_BYTES_MAX);
    check(suite(&long, &"<testcase/>".repeat(400_000)), 400_000, NAME_BYTES_MAX, 0);
    for (format, report) in [
        (Format::Lcov, format!("SF:{long}\n{}", "DA:1,1\n".repeat(400_000))),
        (
            Format::CoberturaXml,
            format!(
                "<coverage><class filename='{long}'>{}</class></coverage>",
                "<line number='1' hits='1'/>".repeat(200_000)
            ),
        ),
        (
            Format::CloverXml,
            format!("<coverage><file path='{long}'>{}</file></coverage>", "<line num='1' count='1'/>".repeat(200_000)),
        ),
        (
            Format::JacocoXml,
            format!(
                "<report><package name='{long}'><sourcefile name='a'>{}</sourcefile></package></report>",
                "<counter type='LINE' covered='1'/>".repeat(200_000)
            ),
        ),
    ] {
        let files = coverage(format, &report).files;
        let lengths: Vec<_> =
            files.iter().map(|(path, covered)| (path.len() <= 2 * NAME_BYTES_MAX, covered.lines.total)).collect();
        assert_eq!(lengths, [(true, 1)], "{format:?}");
    }
    let ways: Vec<_> = (0..100_000).map(|way| format!("\"{way}\":1")).collect();
    let report = format!("{{\"coverage\":{{\"a\":{{\"branches\":{{\"{long}\":{{{}}}}}}}}}}}", ways.join(","));
    assert_eq!(coverage(Format::SimpleCov, &report).files["a"].branches.total, 100_000);
    let backgrounds = vec!["{\"type\":\"background\",\"steps\":[{}]}"; 200_000].join(",");
    let report = format!("[{{\"elements\":[{backgrounds},{{\"name\":\"s\"}}]}}]");
    assert_eq!(tests(Format::CucumberJson, &report).counts.unknown, 1);
    let methods = "<TestMethod className='c'/>".repeat(200_000);
    let report = format!("<TestRun><UnitTest id='{long}' storage='{long}'>{methods}</UnitTest></TestRun>");
    assert_eq!(tests(Format::VisualStudioTrx, &report).counts.total(), 0);
}
