//! The sandbox with real guest programs: loading, the compile cache, limits, and what a plugin sees without grants.

mod common;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use common::{Memory, config, sandbox, shared_cache};
use pipewright_sandbox::abi::{NamedValue, Outcome};
use pipewright_sandbox::grants::Grants;
use pipewright_sandbox::limits::{CallLimits, CompileLimits};
use pipewright_sandbox::seam::{HostCall, Level, Sink};
use pipewright_sandbox::{
    Call, CallEnd, CallFailure, CompileError, CompilerCommand, LoadError, Plugin, Sandbox, SandboxConfig, Usage,
};

async fn deeds(sandbox: &Sandbox) -> Plugin {
    sandbox.load(pipewright_guests::get("deeds").into()).await.unwrap()
}

struct Deed<'a> {
    deed: &'a str,
    amount: u64,
    limits: CallLimits,
    grants: Grants,
    key: &'a str,
    password: &'a str,
}

impl<'a> Deed<'a> {
    fn new(deed: &'a str) -> Self {
        let (limits, grants) = (CallLimits::default(), Grants::default());
        Self { deed, amount: 0, limits, grants, key: "key", password: "hunter2" }
    }

    fn call(self, sink: Arc<dyn Sink>) -> Call {
        let amount = self.amount.to_string();
        let settings = [("Deed", self.deed), ("Amount", &amount), ("Password", self.password)];
        let mut call = common::call("Deed", &settings, sink);
        call.request.idempotency_key = self.key.to_owned();
        Call { grants: self.grants, limits: self.limits, ..call }
    }
}

async fn run(sandbox: &Sandbox, deed: Deed<'_>) -> CallEnd {
    let plugin = deeds(sandbox).await;
    sandbox.call(&plugin, deed.call(Arc::new(Memory::default()))).await
}

fn found(end: CallEnd) -> String {
    match end.result {
        Ok(Outcome::Invoked(report)) => report.variables[0].value.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_is_described_and_called() {
    let sandbox = sandbox();
    let plugin = deeds(&sandbox).await;
    assert_eq!(plugin.description().name, "guest/deeds");
    assert_eq!(plugin.digest().len(), 64);
    // The future goes to another thread: it is `Send`.
    let call = Deed::new("nothing").call(Arc::new(Memory::default()));
    let end = tokio::spawn(async move { sandbox.call(&plugin, call).await }).await.unwrap();
    assert!(matches!(end.result, Ok(Outcome::Invoked(_))), "{end:?}");
    assert!(end.usage.memory_bytes > 0 && end.usage.cpu_micros > 0, "{:?}", end.usage);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_judged_before_anything_runs() {
    let sandbox = sandbox();
    let plugin = deeds(&sandbox).await;
    let id = common::call("Deed", &[], Arc::new(Memory::default())).request.action_type;
    let check = async |name: &str, value: &str| {
        let given = vec![NamedValue { name: name.to_owned(), value: value.to_owned() }];
        let problems = sandbox.check(0, &plugin, id.clone(), given).await;
        problems.map(|problems| problems.into_iter().map(|it| format!("{} {}", it.setting, it.message)).collect())
    };
    let told = async |name, value| -> Vec<String> { check(name, value).await.unwrap() };
    assert_eq!(told("Deed", "nothing").await, Vec::<String>::new());
    assert_eq!(told("Unknown", "x").await, Vec::<String>::new());
    let amount = format!("Amount must be a whole number from 0 to {}, and is `many`", u64::MAX);
    assert_eq!(told("Amount", "many").await, [amount]);
    assert_eq!(told("Judged", "this").await, ["Judged must be something else than this, and is `this`"]);
    let cut = told("Judged", "talk").await.remove(0);
    assert!(cut.starts_with("Judged must be xxx") && cut.len() < 1_100, "{} bytes", cut.len());
    // On a machine that does other things the time that passes is over before that of the processor.
    let limits: [(&str, &[&str]); 3] = [
        ("compute", &["cpu_seconds_max", "wall_seconds_max"]),
        ("talk without end", &["host_call_bytes_max"]),
        ("log", &["log_bytes_max", "log_lines_max"]),
    ];
    for (value, limits) in limits {
        match check("Judged", value).await {
            Err(CallFailure::Limit(reached)) => assert!(limits.contains(&reached.limit), "{value}: {reached}"),
            other => panic!("{value}: {other:?}"),
        }
    }
    assert!(matches!(check("Judged", "panic").await, Err(CallFailure::Trap(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn misbehaving_guests_end_with_a_limit() {
    let sandbox = sandbox();
    let limits = |change: fn(&mut CallLimits)| {
        let mut limits = CallLimits { wall_seconds_max: 60, ..CallLimits::default() };
        change(&mut limits);
        limits
    };
    let cases: &[(&str, u64, CallLimits, &str)] = &[
        ("compute", 0, limits(|l| l.cpu_seconds_max = 1), "cpu_seconds_max"),
        ("compute", 0, limits(|l| l.wall_seconds_max = 1), "wall_seconds_max"),
        ("sleep", 3_600_000, limits(|l| l.wall_seconds_max = 1), "wall_seconds_max"),
        ("take memory", 1 << 40, limits(|l| l.memory_bytes_max = 32 << 20), "memory_bytes_max"),
        ("recurse", 0, limits(|_| ()), "STACK_BYTES_MAX"),
        ("log", 0, limits(|l| l.log_bytes_max = 1 << 20), "log_bytes_max"),
        ("log lines", 0, limits(|l| l.log_lines_max = 1_000), "log_lines_max"),
        ("print", 0, limits(|l| l.log_bytes_max = 1 << 20), "log_bytes_max"),
        ("print without end", 0, limits(|l| l.log_bytes_max = 1 << 20), "log_bytes_max"),
        ("report progress", 0, limits(|l| l.log_lines_max = 1_000), "log_lines_max"),
        ("pass a huge string", 8 << 20, limits(|l| l.host_call_bytes_max = 1 << 20), "host_call_bytes_max"),
    ];
    for (deed, amount, limits, limit) in cases {
        let end = run(&sandbox, Deed { amount: *amount, limits: limits.clone(), ..Deed::new(deed) }).await;
        match end.result {
            Err(CallFailure::Limit(reached)) => assert_eq!(reached.limit, *limit, "{deed}: {reached}"),
            other => panic!("{deed}: {other:?}"),
        }
    }
    let end = run(&sandbox, Deed { amount: 1 << 30, ..Deed::new("do without memory") }).await;
    let failure = end.result.expect_err("no memory").to_string();
    assert!(failure.starts_with("the plugin wanted ") && failure.contains("memory_bytes_max is "), "{failure}");
    assert!(failure.contains("\nmemory allocation failed"), "what it says itself: {failure}");
    assert!(run(&sandbox, Deed::new("nothing")).await.result.is_ok(), "the host goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_of_all_guests_is_limited() {
    let mut config = config(&shared_cache());
    config.guest_memory_bytes_max = 16 << 20;
    let sandbox = Sandbox::new(config).unwrap();
    let take = || run(&sandbox, Deed { amount: 64 << 20, ..Deed::new("take memory") });
    for _ in 0..2 {
        let Err(CallFailure::Limit(reached)) = take().await.result else { panic!("memory without limit") };
        assert_eq!(reached.limit, "guest_memory_bytes_max");
    }
    assert!(run(&sandbox, Deed::new("nothing")).await.result.is_ok(), "what a call took is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_and_unusable_answers_are_told_apart() {
    let sandbox = sandbox();
    let cases: &[(&str, u64, &str)] = &[
        ("panic", 0, "Trap"),
        ("exit", 0, "Trap"),
        ("recurse with variables", 0, "Trap"),
        ("fail", 0, "Plugin"),
        ("make a large variable", 122_881, "Interface"),
    ];
    for (deed, amount, kind) in cases {
        let end = run(&sandbox, Deed { amount: *amount, ..Deed::new(deed) }).await;
        let failure = end.result.expect_err(deed);
        assert!(format!("{failure:?}").starts_with(kind), "{deed}: {failure:?}");
        assert!(!failure.to_string().contains("hunter2"), "{deed}: {failure}");
    }
    let panicked = run(&sandbox, Deed::new("panic")).await.result.expect_err("a panic").to_string();
    let told = panicked.strip_prefix("the plugin crashed: panicked at tests/guests/deeds/src/lib.rs:");
    assert!(told.is_some_and(|told| told.contains(":\nas asked\n   0: ")), "{panicked}");
    let end = run(&sandbox, Deed { amount: 15 << 10, ..Deed::new("wait") }).await;
    assert!(matches!(end.result, Ok(Outcome::Waiting(_))), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_has_every_line_and_no_secret() {
    let sandbox = sandbox();
    let plugin = deeds(&sandbox).await;
    let memory = Arc::new(Memory::default());
    let sink: Arc<dyn Sink> = Arc::<Memory>::clone(&memory);
    sandbox.call(&plugin, Deed::new("say").call(sink)).await.result.unwrap();
    let want = [
        "Debug to whom it may concern",
        "Info first line",
        "Info second line, the password is ****",
        "Info printed ****",
        "Some(50) half way",
        "Warn without an end",
    ];
    assert_eq!(memory.lines(), want);
}

/// What a guest prints comes in pieces, and a long line is cut: nothing of a secret is to be seen for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_seen_where_it_is_cut() {
    const PASSWORD: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTU";
    let sandbox = sandbox();
    let plugin = deeds(&sandbox).await;
    for deed in ["print in pieces", "print over the cut"] {
        let memory = Arc::new(Memory::default());
        let sink: Arc<dyn Sink> = Arc::<Memory>::clone(&memory);
        sandbox.call(&plugin, Deed { password: PASSWORD, ..Deed::new(deed) }.call(sink)).await.result.unwrap();
        let log = memory.lines().concat();
        let seen = (0..PASSWORD.len() - 7).map(|at| &PASSWORD[at..at + 8]).find(|part| log.contains(part));
        assert_eq!(seen, None, "{deed}");
        let times = PASSWORD.len() + usize::from(deed != "print in pieces");
        assert_eq!(log.matches('*').count(), times * "****".len(), "{deed}");
        assert!(!log.contains('\u{fffd}'), "{deed}: a character was cut");
    }
    let memory = Arc::new(Memory::default());
    let sink: Arc<dyn Sink> = Arc::<Memory>::clone(&memory);
    sandbox.call(&plugin, Deed { password: "t", ..Deed::new("say") }.call(sink)).await.result.unwrap();
    let lines = memory.lines();
    assert!(lines[0].starts_with("Warn the secret setting Password has fewer than 4 bytes"), "{lines:?}");
    assert!(lines.contains(&"Info first line".to_owned()), "{lines:?}");
}

/// A plugin that is called again and again has one set of limits, not one for each call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_count_over_all_calls_of_an_action() {
    let sandbox = sandbox();
    let limits = CallLimits { log_bytes_max: 10_000, cpu_seconds_max: 1, ..CallLimits::default() };
    let mut spent = Usage::default();
    for round in 0..=10 {
        let limits = limits.clone().less(&spent);
        let end = run(&sandbox, Deed { amount: 1_000, limits, ..Deed::new("log as much as asked") }).await;
        match end.result {
            Ok(_) => assert_eq!(end.usage.log_bytes, 1_000, "of one call"),
            Err(CallFailure::Limit(reached)) => assert_eq!((reached.limit, round), ("log_bytes_max", 10), "{reached}"),
            Err(failure) => panic!("{failure:?}"),
        }
        spent.log_bytes += end.usage.log_bytes;
    }
    let limits = limits.less(&Usage { cpu_micros: 900_000, ..Usage::default() });
    let end = run(&sandbox, Deed { limits, ..Deed::new("compute") }).await;
    assert!(matches!(&end.result, Err(CallFailure::Limit(reached)) if reached.limit == "cpu_seconds_max"), "{end:?}");
    assert!((50_000..900_000).contains(&end.usage.cpu_micros), "what was left: {:?}", end.usage);
}

/// Guests keep nobody waiting but guests: whatever they do, they do it on threads of their own.
#[tokio::test]
async fn guests_run_on_threads_of_their_own() {
    struct Threads(Memory);
    impl Sink for Threads {
        fn log(&self, level: Level, _: &str) {
            self.0.log(level, std::thread::current().name().unwrap_or_default());
        }

        fn progress(&self, percent: Option<u8>, _: &str) {
            self.0.progress(percent, std::thread::current().name().unwrap_or_default());
        }

        fn host_call(&self, _: HostCall) {}
    }
    let sandbox = sandbox();
    let plugin = deeds(&sandbox).await;
    let threads = Arc::new(Threads(Memory::default()));
    let sink: Arc<dyn Sink> = Arc::<Threads>::clone(&threads);
    sandbox.call(&plugin, Deed::new("say").call(sink)).await.result.unwrap();
    let lines = threads.0.lines();
    assert!(!lines.is_empty() && lines.iter().all(|line| line.ends_with(" guest")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_grants_time_stands_still_and_nothing_is_random() {
    let sandbox = sandbox();
    let passed = |clock| Deed {
        amount: 20,
        grants: Grants { clock, ..Grants::default() },
        ..Deed::new("wait for the time to pass")
    };
    assert_eq!(found(run(&sandbox, passed(false)).await), "0");
    assert!(found(run(&sandbox, passed(true)).await).parse::<u64>().unwrap() >= 20);

    let guess =
        |key, randomness| Deed { key, grants: Grants { randomness, ..Grants::default() }, ..Deed::new("guess") };
    let first = found(run(&sandbox, guess("one", false)).await);
    assert_eq!(found(run(&sandbox, guess("one", false)).await), first);
    assert_ne!(found(run(&sandbox, guess("two", false)).await), first);
    assert_eq!(found(run(&sandbox, Deed::new("look around")).await), "0 0");
    for (deed, what) in [("connect", "tcp IPv4"), ("bind", "udp IPv4"), ("look up", "lookup localhost")] {
        let end = run(&sandbox, Deed::new(deed)).await;
        let denial = format!("tried to use a socket of its own ({what}), which no grant allows");
        assert!(end.denials.iter().any(|told| told.contains(&denial)), "{deed}: {:?}", end.denials);
        assert_eq!(found(end), "permission denied", "{deed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn computing_guests_leave_the_threads_to_others() {
    let sandbox = sandbox();
    let plugin = deeds(&sandbox).await;
    let busy: Vec<_> = (0..4)
        .map(|_| {
            let (sandbox, plugin) = (sandbox.clone(), plugin.clone());
            let call = Deed::new("compute").call(Arc::new(Memory::default()));
            tokio::spawn(async move { sandbox.call(&plugin, call).await })
        })
        .collect();
    // Four guests compute on two threads, and this future and a fifth guest still get their turn.
    let end = tokio::time::timeout(Duration::from_secs(20), run(&sandbox, Deed::new("nothing"))).await.unwrap();
    assert!(end.result.is_ok());
    for call in busy {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled(), "dropping the future stops the guest");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_pool_is_no_limit() {
    let sandbox = Sandbox::new(SandboxConfig { pooled_calls_max: 1, ..config(&shared_cache()) }).unwrap();
    let sleep = || run(&sandbox, Deed { amount: 100, ..Deed::new("sleep") });
    // The first sleeps in the only place of the pool when the others begin.
    let (one, two, three) = tokio::join!(sleep(), sleep(), sleep());
    for end in [one, two, three] {
        assert!(end.result.is_ok(), "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_plugin_is_refused_with_its_reason() {
    let sandbox = sandbox();
    let check = async |bytes: &[u8], want: &str| {
        let error = sandbox.load(bytes.into()).await.unwrap_err().to_string();
        assert!(error.contains(want), "{want:?} is not in {error:?}");
    };
    check(b"", "does not begin as WebAssembly does").await;
    check(b"(component)", "does not begin as WebAssembly does").await;
    check(b"\0asm\x01\0\0\0", "it is a core module; build it for the target wasm32-wasip2").await;
    check(b"\0asm\x0d\0\x01\0", "it does not export pipewright:plugin/plugin@0.1.0").await;
    check(b"\0asm\x0d\0\x01\0\x01", "cannot be compiled").await;
    check(&[0; (64 << 20) + 1], "at most 67108864 are allowed").await;
    check(&importing("other:package/thing"), "it imports other:package/thing, which is not part of the plugin ABI")
        .await;
    check(&importing("pipewright:plugin/log@0.2.0"), "was built for version 0.2.0 of the plugin ABI").await;
    check(&importing("pipewright:plugin/weather@0.1.99"), "needs Pipewright 0.1.99 or newer").await;
    let Err(LoadError::False(problems)) = sandbox.load(pipewright_guests::get("liar").into()).await else {
        panic!("a liar was believed")
    };
    assert_eq!(problems.len(), 4, "{problems:#?}");
}

/// A component that imports an instance of this name, with a function `run`, and does nothing.
fn importing(name: &str) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    // A type section with one instance type: a function type, and an export of that type.
    bytes.extend(b"\x07\x10\x01\x42\x02\x01\x40\0\x01\0\x04\0\x03run\x01\0");
    // An import section: the name, and an instance of the first type.
    let length = u8::try_from(name.len()).unwrap();
    bytes.extend([10, length + 5, 1, 0, length]);
    bytes.extend(name.as_bytes());
    bytes.extend([5, 0]);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_too_long_or_too_much_to_compile_is_refused() {
    let load = async |limits: CompileLimits, component: Vec<u8>| {
        let config = SandboxConfig { compile_limits: limits, ..config(&shared_cache()) };
        Sandbox::new(config).unwrap().load(component.into()).await.unwrap_err()
    };
    let usual = CompileLimits::default();
    let error = load(CompileLimits { cpu_seconds_max: 1, ..usual }, bomb()).await;
    assert!(matches!(error, LoadError::Compile(CompileError::Time(_))), "{error}");
    let error = load(CompileLimits { wall_seconds_max: 1, ..usual }, bomb()).await;
    assert!(matches!(error, LoadError::Compile(CompileError::Time(_))), "{error}");
    let error = load(CompileLimits { memory_bytes_max: 256 << 20, ..usual }, bomb()).await;
    assert!(matches!(error, LoadError::Compile(CompileError::Memory(_))), "{error}");
}

/// A component of 120 KB that takes minutes to compile: thousands of variables live across thousands of branches.
fn bomb() -> Vec<u8> {
    fn number(mut number: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number > 0x7f {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }
    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id], number(content.len() as u32).as_slice(), content].concat()
    }
    const LOCALS: u32 = 5_000;
    let mut body = [&[1], number(LOCALS).as_slice(), &[0x7f]].concat();
    for branch in 0..5_000 {
        let (one, two) = (number(1 + (branch * 7_919) % LOCALS), number(1 + (branch * 104_729) % LOCALS));
        body.extend_from_slice(b"\x20\0\x04\x40\x20");
        body.extend(
            [one.as_slice(), b"\x41\x01\x6a\x21", &two, b"\x05\x20", &two, b"\x20", &one, b"\x6a\x21", &one].concat(),
        );
        body.push(0x0b);
    }
    body.extend_from_slice(b"\x20\0");
    for local in 0..2_000 {
        body.extend([b"\x20", number(1 + local).as_slice(), b"\x6a"].concat());
    }
    body.push(0x0b);
    let code = [&[1], number(body.len() as u32).as_slice(), &body].concat();
    let module =
        [b"\0asm\x01\0\0\0".to_vec(), section(1, b"\x01\x60\x01\x7f\x01\x7f"), section(3, &[1, 0]), section(10, &code)];
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, &module.concat())].concat()
}

/// What does not fit is forgotten, what was used longest ago first, and read again from the cache.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compiled_plugins_in_memory_are_limited() {
    let cache = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(SandboxConfig { compiled_bytes_max: 1, ..config(cache.path()) }).unwrap();
    let deeds = deeds(&sandbox).await;
    let steps = sandbox.load(pipewright_guests::get("steps").into()).await.unwrap();
    let does = async |plugin: &Plugin, call: Call| sandbox.call(plugin, call).await.result;
    let deed = || Deed::new("nothing").call(Arc::new(Memory::default()));
    let step = || common::call("Steps", &[("Script", "")], Arc::new(Memory::default()));
    for _ in 0..2 {
        does(&deeds, deed()).await.unwrap();
        does(&steps, step()).await.unwrap();
    }
    for entry in fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if !entry.ends_with("key") {
            fs::remove_file(entry).unwrap();
        }
    }
    does(&steps, step()).await.expect("it was used last, and is in memory");
    let gone = does(&deeds, deed()).await.expect_err("it is neither in memory nor in the cache").to_string();
    assert!(gone.contains("not in the compile cache any more"), "{gone}");
    let again = sandbox.load(pipewright_guests::get("deeds").into()).await.unwrap();
    does(&again, deed()).await.unwrap();
    does(&deeds, deed()).await.expect("it is compiled anew for both");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_is_compiled_once_and_an_altered_cache_is_noticed() {
    let cache = tempfile::tempdir().unwrap();
    let entry = || {
        let entries = fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut entries: Vec<_> = entries.filter(|path| !path.ends_with("key")).collect();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries.remove(0)
    };
    let sandbox = Sandbox::new(config(cache.path())).unwrap();
    let (one, two) = tokio::join!(deeds(&sandbox), deeds(&sandbox));
    assert_eq!(one.digest(), two.digest());
    let entry = entry();
    let compiled = fs::read(&entry).unwrap();
    let first_written = fs::metadata(&entry).unwrap().modified().unwrap();

    // A compiler that cannot be started shows that none is needed.
    let broken = CompilerCommand { program: "/no/such/compiler".into(), args: Vec::new() };
    let without_compiler = || Sandbox::new(SandboxConfig { compiler: broken.clone(), ..config(cache.path()) }).unwrap();
    let again = deeds(&without_compiler()).await;
    assert_eq!(again.description(), one.description());
    assert!(fs::metadata(&entry).unwrap().modified().unwrap() >= first_written);

    let places = [0, 1, 31, 32, 39, 40, 200, compiled.len() / 3, compiled.len() / 2, compiled.len() - 1];
    for place in places {
        let mut altered = compiled.clone();
        altered[place] ^= 1;
        fs::write(&entry, &altered).unwrap();
        let loaded = without_compiler().load(pipewright_guests::get("deeds").into()).await;
        assert!(matches!(loaded, Err(LoadError::Compile(_))), "the altered byte {place} was not noticed");
        assert!(!entry.exists(), "an altered entry is removed");
    }
    for short in [0, 31, 40, compiled.len() - 1] {
        fs::write(&entry, &compiled[..short]).unwrap();
        assert!(without_compiler().load(pipewright_guests::get("deeds").into()).await.is_err(), "cut at {short}");
    }
    fs::write(&entry, &compiled).unwrap();
    assert!(without_compiler().load(pipewright_guests::get("deeds").into()).await.is_ok(), "the entry as it was");
}
