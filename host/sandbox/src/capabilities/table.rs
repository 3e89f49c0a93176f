//! What is made of the table of capabilities: for each row a field or a variant, and each function goes over all of them.
//!
//! Must not know any capability by name.

macro_rules! capabilities {
    ($($name:ident: $type:ident,)*) => {
        pub const CAPABILITIES: &[Row] = &{
            let [log, settings, artifacts, results, tools] = ALWAYS;
            [log, settings, artifacts, results, tools, $($type::ROW,)*]
        };

        /// The grants of one action. The default is none. As recordings keep them, they have neither values nor places.
        #[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Grants {
            $(
                #[serde(default, skip_serializing_if = "Grant::is_unsaid")]
                pub $name: <$type as Capability>::Grant,
            )*
        }

        impl Grants {
            pub fn is_nothing(&self) -> bool {
                $(self.$name.is_nothing())&&*
            }

            /// Of what was granted, what counts.
            pub(crate) fn narrowed(mut self, asks: &Asks) -> Self {
                $($type::narrow(&mut self.$name, asks);)*
                self
            }

            /// As the `grants` of a test case.
            pub fn in_case(&self, folder: &CaseFolder<'_>) -> Written {
                Written { $($name: $type::in_case(&self.$name, folder),)* }
            }
        }

        /// The grants of one action as they are written in a grants file.
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
        pub struct Written {
            $(
                #[serde(skip_serializing_if = "is_default")]
                pub $name: <$type as Capability>::Written,
            )*
        }

        impl Written {
            pub const KEYS: &[&str] = &[$($type::ROW.name,)*];

            /// Reads the value of one of the keys.
            pub fn read<'de, M: serde::de::MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<(), M::Error> {
                match key {
                    $(key if key == $type::ROW.name => self.$name = map.next_value()?,)*
                    key => return Err(serde::de::Error::unknown_field(key, Self::KEYS)),
                }
                Ok(())
            }

            /// What in them contradicts itself.
            pub fn contradiction(&self) -> Option<String> {
                None$(.or_else(|| $type::contradiction(&self.$name)))*
            }

            pub fn resolve(&self, place: Place<'_>) -> Result<Grants, String> {
                Ok(Grants { $($name: $type::resolve(&self.$name, place)?,)* })
            }

            /// One line for each thing that is granted.
            pub fn in_words(&self, base: &Path) -> Vec<String> {
                [$($type::in_words(&self.$name, base),)*].concat()
            }

            /// What takes something from outside of the folder `base`.
            pub fn leaving(&self, base: &Path) -> Vec<String> {
                [$($type::leaving(&self.$name, base),)*].concat()
            }

            /// Takes away what was not used.
            pub fn least(&mut self, uses: &BTreeSet<Use>) {
                $($type::least(&mut self.$name, uses);)*
            }
        }

        fn is_default<T: Default + PartialEq>(value: &T) -> bool {
            *value == T::default()
        }

        /// What a plugin asks for, in parts.
        pub fn asked(ask: &abi::Capability) -> Asked<'_> {
            let asked = None$(.or_else(|| $type::asked(ask)))*;
            // A test goes through the cases of the WIT.
            asked.expect("each ask is one of a capability of the table")
        }

        /// One use of a capability, as recordings keep it.
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "capability", rename_all = "kebab-case")]
        pub enum Step {
            $($type(<$type as Capability>::Kept),)*
        }

        impl Step {
            pub fn capability(&self) -> &'static str {
                match self {
                    $(Self::$type(_) => $type::ROW.name,)*
                }
            }

            pub(crate) fn shown(&self) -> String {
                match self {
                    $(Self::$type(kept) => kept.shown(),)*
                }
            }

            pub(crate) fn denial(&self) -> Option<&str> {
                match self {
                    $(Self::$type(kept) => kept.denial(),)*
                }
            }

            pub(crate) fn bodies(&self) -> Vec<pipewright_base::Digest> {
                match self {
                    $(Self::$type(kept) => kept.bodies(),)*
                }
            }

            /// None where a secret's value is in what cannot be masked.
            pub(crate) fn masked(&self, masks: &crate::masks::Masks) -> Option<Self> {
                Some(match self {
                    $(Self::$type(kept) => Self::$type(kept.masked(masks)?),)*
                })
            }
        }

        /// What the table gives to each capability.
        pub trait Tabled: Capability {
            fn step(kept: Self::Kept) -> Step;

            /// None if it is another one's.
            fn kept(step: &Step) -> Option<&Self::Kept>;
        }

        $(impl Tabled for $type {
            fn step(kept: Self::Kept) -> Step {
                Step::$type(kept)
            }

            fn kept(step: &Step) -> Option<&Self::Kept> {
                match step {
                    Step::$type(kept) => Some(kept),
                    #[allow(unreachable_patterns, reason = "in a table of one")]
                    _ => None,
                }
            }
        })*

        /// What a call holds of each.
        pub struct Held {
            $(pub $name: $type,)*
        }

        impl Held {
            pub(crate) fn new(mut setup: Setup<'_>) -> Self {
                Self { $($name: $type::new(&mut setup),)* }
            }
        }

        pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
            $($type::link(linker)?;)*
            Ok(())
        }
    };
}

pub(super) use capabilities;
