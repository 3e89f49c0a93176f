//! Names and places for the stack of a plugin that crashed, from debug information that lies beside the component.
//!
//! The shipped component has none of it: its functions are found by their numbers, which stripping does not change.

use std::collections::HashMap;
use std::fmt::Write as _;

use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use addr2line::{Context, demangle_auto};
use wasmparser::{KnownCustom, Name, NameSectionReader, Parser, Payload, TypeRef};
use wasmtime::{FrameInfo, WasmBacktrace};

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Further lines are counted: stops an endless recursion from filling the message.
const LINES_MAX: usize = 32;

/// The debug information of one component: the component as it was before it was stripped. It is large, and read only when
/// something crashes.
pub struct Symbols(Box<dyn Fn() -> Option<Vec<u8>> + Send + Sync>);

impl Symbols {
    /// `read` gives the component, or nothing where it cannot be had any more.
    pub fn new(read: impl Fn() -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self(Box::new(read))
    }
}

/// A core module that has debug information.
struct Module<'a> {
    exports: Vec<&'a str>,
    imported_functions: u32,
    /// Where the bodies of the module's own functions begin, counted from the start of the code section.
    bodies: Vec<u64>,
    /// By the functions' numbers. Small debug information names only functions into which others were inlined.
    names: HashMap<u32, &'a str>,
    context: Context<Slice<'a>>,
}

/// What of a module has been read.
#[derive(Default)]
struct Parts<'a> {
    exports: Vec<&'a str>,
    imported_functions: u32,
    code_start: usize,
    bodies: Vec<u64>,
    names: HashMap<u32, &'a str>,
    sections: Vec<(&'a str, &'a [u8])>,
}

/// The modules up to the first thing that cannot be read.
fn modules(component: &[u8]) -> Vec<Module<'_>> {
    let (mut modules, mut current) = (Vec::new(), Vec::<Parts<'_>>::new());
    for payload in Parser::new(0).parse_all(component) {
        let Ok(payload) = payload else { break };
        if let Payload::Version { .. } = payload {
            current.push(Parts::default());
            continue;
        }
        let Some(parts) = current.last_mut() else { break };
        match payload {
            Payload::ImportSection(imports) => {
                let imports = imports.into_imports().filter_map(Result::ok);
                let functions = imports.filter(|import| matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
                parts.imported_functions = functions.count() as u32;
            }
            Payload::ExportSection(exports) => {
                parts.exports = exports.into_iter().filter_map(|export| Some(export.ok()?.name)).collect();
            }
            Payload::CodeSectionStart { range, .. } => parts.code_start = range.start,
            Payload::CodeSectionEntry(body) => parts.bodies.push((body.range().start - parts.code_start) as u64),
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    parts.names = function_names(names);
                }
                parts.sections.push((section.name(), section.data()));
            }
            Payload::End(_) => modules.extend(current.pop().and_then(Parts::module)),
            _ => {}
        }
    }
    modules
}

fn function_names(names: NameSectionReader<'_>) -> HashMap<u32, &str> {
    let mut functions = HashMap::new();
    for subsection in names.into_iter().filter_map(Result::ok) {
        if let Name::Function(map) = subsection {
            functions.extend(map.into_iter().filter_map(Result::ok).map(|naming| (naming.index, naming.name)));
        }
    }
    functions
}

impl<'a> Parts<'a> {
    fn module(self) -> Option<Module<'a>> {
        let section = |id: SectionId| self.sections.iter().find(|(name, _)| *name == id.name()).map(|(_, data)| *data);
        section(SectionId::DebugInfo)?;
        let load = |id| Ok::<_, addr2line::gimli::Error>(Slice::new(section(id).unwrap_or_default(), LittleEndian));
        let context = Context::from_dwarf(Dwarf::load(load).ok()?).ok()?;
        let Self { exports, imported_functions, bodies, names, .. } = self;
        Some(Module { exports, imported_functions, bodies, names, context })
    }
}

impl Module<'_> {
    fn is(&self, module: &wasmtime::Module) -> bool {
        module.exports().map(|export| export.name()).eq(self.exports.iter().copied())
    }

    /// The functions at a frame, the innermost of inlined ones first; none where nothing is known of it.
    fn functions(&self, frame: &FrameInfo) -> Option<Vec<String>> {
        let number = frame.func_index();
        let own = number.checked_sub(self.imported_functions)?;
        let address = self.bodies.get(own as usize)? + frame.func_offset()? as u64;
        let mut found = self.context.find_frames(address).skip_all_loads().ok()?;
        let mut functions = Vec::new();
        while let Ok(Some(frame)) = found.next() {
            let name = frame.function.as_ref().and_then(|function| function.demangle().ok());
            let place = frame.location.and_then(|location| location.file.zip(location.line));
            let name = name.or_else(|| Some(demangle_auto((*self.names.get(&number)?).into(), None)));
            let mut text = name.as_deref().unwrap_or("unknown").to_owned();
            if let Some((file, line)) = place {
                let _ = write!(text, " at {file}:{line}");
            }
            functions.push(text);
        }
        (!functions.is_empty()).then_some(functions)
    }
}

/// How a Rust program comes to its end once it panics: nobody's bug is there.
const PANICKING: &str = "core::panicking::";

/// What a text says of a crash before its stack: the same build tells the stack in names or in numbers, as its debug information is
/// there or not.
pub fn without_stack(text: &str) -> &str {
    let is_frame = |line: &str| {
        let number = line.trim_start().split_once(": ").map_or("", |(number, _)| number);
        line.starts_with(' ') && !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    };
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        if is_frame(line) {
            return text[..end].trim_end();
        }
        end += line.len();
    }
    text
}

/// The stack in lines, each a function; without symbols a function is a number.
pub(crate) fn stack(backtrace: &WasmBacktrace, symbols: Option<&Symbols>) -> String {
    let component = symbols.and_then(|symbols| symbols.0());
    let modules = component.as_deref().map(modules).unwrap_or_default();
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, frame) in backtrace.frames().iter().enumerate() {
        let module = modules.iter().find(|module| module.is(frame.module()));
        let functions = module.and_then(|module| module.functions(frame)).unwrap_or_else(|| {
            let name = frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), str::to_owned);
            vec![format!("{name} + {:#x}", frame.func_offset().unwrap_or_default())]
        });
        lines.extend(functions.into_iter().map(|function| (number, function)));
    }
    if let Some(last) = lines.iter().rposition(|(_, function)| function.starts_with(PANICKING)) {
        lines.drain(..=last);
    }
    let mut text = String::new();
    for (number, function) in lines.iter().take(LINES_MAX) {
        let _ = write!(text, "\n  {number:>2}: {function}");
    }
    if lines.len() > LINES_MAX {
        let _ = write!(text, "\n  and {} more", lines.len() - LINES_MAX);
    }
    text
}
