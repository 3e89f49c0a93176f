# What `cargo test` prints, as a report in the form of JUnit.
/^test .* \.\.\. (ok|FAILED|ignored)/ {
    count++
    names[count] = $2
    ends[count] = $NF
    failures += ($NF == "FAILED")
}
END {
    printf "<testsuite name=\"units\" tests=\"%d\" failures=\"%d\">\n", count, failures
    for (i = 1; i <= count; i++) {
        body = ends[i] == "FAILED" ? "<failure/>" : ends[i] == "ignored" ? "<skipped/>" : ""
        printf "  <testcase name=\"%s\">%s</testcase>\n", names[i], body
    }
    print "</testsuite>"
}
