//! The patterns of triggers: `*` any characters but `/`, `**` any characters, `?` one character but `/`, `[a-z]` and `[!a-z]`
//! one of a set but `/`, `{a,b}` one of some patterns, and `\` before a character that means itself.
//!
//! A name is compared in steps that are at most its length times the pattern's, whatever the pattern. The crates for globs
//! give `**` a meaning between two `/` alone, and there that of no folder at all as well. Must not know what is compared.

/// A text that is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGlob {
    #[error("it ends in a `\\` that nothing follows")]
    Escape,
    #[error("a `[` has no `]`, or nothing before it")]
    Set,
    #[error("a `{{` has no `}}`")]
    Group,
    #[error("a `{{` is within another one")]
    NestedGroup,
}

#[derive(Clone, Debug)]
pub struct Glob {
    nodes: Vec<Node>,
    start: usize,
}

/// What a name is compared with, and where it goes on.
#[derive(Clone, Debug)]
enum Node {
    End,
    One(Chars, usize),
    Many { crosses: bool, next: usize },
    Either(Vec<usize>),
}

#[derive(Clone, Debug)]
enum Chars {
    Just(char),
    /// Any but `/`.
    Any,
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

#[derive(Clone, Debug)]
enum Token {
    One(Chars),
    Many { crosses: bool },
    Either(Vec<Vec<Token>>),
}

impl Glob {
    pub fn new(pattern: &str) -> Result<Glob, InvalidGlob> {
        let tokens = tokens(&mut pattern.chars().peekable(), false)?;
        let mut glob = Glob { nodes: vec![Node::End], start: 0 };
        glob.start = glob.add(tokens.into_iter().next().unwrap_or_default(), 0);
        Ok(glob)
    }

    /// Adds what stands before a node; gives where it begins.
    fn add(&mut self, tokens: Vec<Token>, next: usize) -> usize {
        tokens.into_iter().rev().fold(next, |next, token| {
            let node = match token {
                Token::One(chars) => Node::One(chars, next),
                Token::Many { crosses } => Node::Many { crosses, next },
                Token::Either(options) => Node::Either(options.into_iter().map(|it| self.add(it, next)).collect()),
            };
            self.nodes.push(node);
            self.nodes.len() - 1
        })
    }

    pub fn is_match(&self, name: &str) -> bool {
        let mut here = vec![false; self.nodes.len()];
        self.reach(self.start, &mut here);
        for c in name.chars() {
            let mut there = vec![false; self.nodes.len()];
            for (index, node) in self.nodes.iter().enumerate().filter(|(index, _)| here[*index]) {
                match node {
                    Node::One(chars, next) if chars.contain(c) => self.reach(*next, &mut there),
                    Node::Many { crosses, .. } if *crosses || c != '/' => self.reach(index, &mut there),
                    _ => {}
                }
            }
            here = there;
        }
        here[0]
    }

    /// A node, and those that it leads to without a character.
    fn reach(&self, node: usize, reached: &mut [bool]) {
        if std::mem::replace(&mut reached[node], true) {
            return;
        }
        match &self.nodes[node] {
            Node::Many { next, .. } => self.reach(*next, reached),
            Node::Either(options) => options.iter().for_each(|option| self.reach(*option, reached)),
            Node::End | Node::One(..) => {}
        }
    }
}

impl Chars {
    fn contain(&self, c: char) -> bool {
        match self {
            Chars::Just(just) => *just == c,
            Chars::Any => c != '/',
            Chars::Set { negated, ranges } => {
                c != '/' && ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *negated
            }
        }
    }
}

type Pattern<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// The tokens up to the end, or those of each option up to the end of a group.
fn tokens(pattern: &mut Pattern<'_>, in_group: bool) -> Result<Vec<Vec<Token>>, InvalidGlob> {
    let mut options = vec![Vec::new()];
    while let Some(c) = pattern.next() {
        let token = match c {
            '\\' => Token::One(Chars::Just(pattern.next().ok_or(InvalidGlob::Escape)?)),
            '*' => Token::Many { crosses: pattern.next_if_eq(&'*').is_some() },
            '?' => Token::One(Chars::Any),
            '[' => Token::One(set(pattern)?),
            '{' if in_group => return Err(InvalidGlob::NestedGroup),
            '{' => Token::Either(tokens(pattern, true)?),
            '}' if in_group => return Ok(options),
            ',' if in_group => {
                options.push(Vec::new());
                continue;
            }
            c => Token::One(Chars::Just(c)),
        };
        if let Some(option) = options.last_mut() {
            option.push(token);
        }
    }
    if in_group { Err(InvalidGlob::Group) } else { Ok(options) }
}

/// What stands behind a `[`. In it, `*`, `?` and `\` mean themselves.
fn set(pattern: &mut Pattern<'_>) -> Result<Chars, InvalidGlob> {
    let negated = pattern.next_if_eq(&'!').is_some();
    let mut ranges = Vec::new();
    loop {
        let first = match pattern.next().ok_or(InvalidGlob::Set)? {
            ']' if ranges.is_empty() => return Err(InvalidGlob::Set),
            ']' => return Ok(Chars::Set { negated, ranges }),
            c => c,
        };
        let mut last = first;
        if pattern.peek() == Some(&'-') {
            pattern.next();
            match pattern.peek() {
                // A hyphen at the end means itself.
                Some(']') => ranges.push(('-', '-')),
                _ => last = pattern.next().ok_or(InvalidGlob::Set)?,
            }
        }
        ranges.push((first, last));
    }
}
