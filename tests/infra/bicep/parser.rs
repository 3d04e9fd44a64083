//! Words to statements, by recursive descent.

mod expressions;

use super::lexer::{Piece, Token, words};
use super::{Expr, Kind, Member, Node, Source, Statement};

type Result<T> = std::result::Result<T, (usize, String)>;

/// Reads a file. The error is a line and a sentence.
pub fn parse(source: &str) -> Result<Source> {
    let mut parser = Parser { words: words(source)?, at: 0 };
    let mut statements = Vec::new();
    loop {
        parser.line_ends();
        if *parser.peek() == Token::End {
            return Ok(Source { statements });
        }
        statements.push(parser.statement()?);
    }
}

struct Parser {
    words: Vec<(Token, usize)>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.words[self.at].0
    }

    fn line(&self) -> usize {
        self.words[self.at].1
    }

    fn next(&mut self) -> Token {
        let word = self.words[self.at].0.clone();
        // The end stays the end.
        self.at = (self.at + 1).min(self.words.len() - 1);
        word
    }

    fn wrong<T>(&self, expected: &str) -> Result<T> {
        Err((self.line(), format!("expected {expected}, not {:?}", self.peek())))
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(is) if *is == sign)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let is = self.is(sign);
        if is {
            self.next();
        }
        is
    }

    fn expect(&mut self, sign: &str) -> Result<()> {
        if self.takes(sign) { Ok(()) } else { self.wrong(&format!("`{sign}`")) }
    }

    fn name(&mut self) -> Result<String> {
        match self.peek().clone() {
            Token::Name(name) => {
                self.next();
                Ok(name)
            }
            _ => self.wrong("a name"),
        }
    }

    fn keyword(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Token::Name(name) if name == word);
        if is {
            self.next();
        }
        is
    }

    fn plain_text(&mut self) -> Result<String> {
        match self.peek().clone() {
            Token::Text(pieces) => match &*pieces {
                [Piece::Plain(text)] => {
                    self.next();
                    Ok(text.clone())
                }
                _ => self.wrong("a string without expressions"),
            },
            _ => self.wrong("a string"),
        }
    }

    fn line_ends(&mut self) {
        while *self.peek() == Token::LineEnd {
            self.next();
        }
    }

    /// Whether `sign` comes next, on this line or a later one; if so it is taken.
    fn takes_beyond_lines(&mut self, sign: &str) -> bool {
        let begin = self.at;
        self.line_ends();
        let taken = self.takes(sign);
        if !taken {
            self.at = begin;
        }
        taken
    }

    fn statement_end(&mut self) -> Result<()> {
        match self.peek() {
            Token::LineEnd => {
                self.next();
                Ok(())
            }
            Token::End => Ok(()),
            _ => self.wrong("the end of the line"),
        }
    }

    fn decorators(&mut self) -> Result<Vec<(String, Vec<Expr>)>> {
        let mut decorators = Vec::new();
        while self.takes("@") {
            let name = self.name()?;
            self.expect("(")?;
            decorators.push((name, self.arguments()?));
            self.statement_end()?;
            self.line_ends();
        }
        Ok(decorators)
    }

    fn statement(&mut self) -> Result<Statement> {
        let decorators = self.decorators()?;
        let line = self.line();
        let word = self.name()?;
        let (name, kind) = match &*word {
            "targetScope" => {
                self.expect("=")?;
                self.plain_text()?;
                (String::new(), Kind::TargetScope)
            }
            "using" => (String::new(), Kind::Using(self.plain_text()?)),
            "import" => {
                self.expect("{")?;
                let mut names = vec![self.name()?];
                while self.takes(",") {
                    names.push(self.name()?);
                }
                self.expect("}")?;
                if !self.keyword("from") {
                    return self.wrong("`from`");
                }
                (String::new(), Kind::Import { names, from: self.plain_text()? })
            }
            "param" => {
                let name = self.name()?;
                let of = self.type_text()?;
                let default = if self.takes("=") { Some(self.expr()?) } else { None };
                (name, Kind::Param { of, default })
            }
            "var" => {
                let name = self.name()?;
                self.expect("=")?;
                (name, Kind::Var(self.expr()?))
            }
            "output" => {
                let name = self.name()?;
                let of = self.type_text()?;
                self.expect("=")?;
                (name, Kind::Output { of, value: self.expr()? })
            }
            "resource" => {
                let (name, of) = (self.name()?, self.plain_text()?);
                let existing = self.keyword("existing");
                self.expect("=")?;
                (name, Kind::Resource { of, existing, body: self.declared()? })
            }
            "module" => {
                let (name, path) = (self.name()?, self.plain_text()?);
                self.expect("=")?;
                (name, Kind::Module { path, body: self.declared()? })
            }
            "type" => {
                let name = self.name()?;
                self.expect("=")?;
                (name, Kind::Type(self.members()?))
            }
            other => return Err((line, format!("`{other}` begins no statement"))),
        };
        self.statement_end()?;
        Ok(Statement { line, decorators, name, kind })
    }

    /// A type as it is written, up to `=` or the end of the line.
    fn type_text(&mut self) -> Result<String> {
        let mut text = String::new();
        loop {
            match self.peek().clone() {
                Token::LineEnd | Token::End | Token::Sign("=") => return Ok(text),
                Token::Name(name) => text += &name,
                Token::Number(number) => text += &number.to_string(),
                Token::Text(_) => {
                    text = format!("{text}'{}'", self.plain_text()?);
                    continue;
                }
                Token::Sign("|") => text += " | ",
                Token::Sign(sign) => text += sign,
            }
            self.next();
        }
    }

    fn members(&mut self) -> Result<Vec<Member>> {
        self.expect("{")?;
        let mut members = Vec::new();
        loop {
            self.line_ends();
            if self.takes("}") {
                return Ok(members);
            }
            let decorators = self.decorators()?;
            let (line, name) = (self.line(), self.name()?);
            self.expect(":")?;
            self.type_text()?;
            members.push(Member { line, decorators, name });
        }
    }

    /// What follows the `=` of a resource or module.
    fn declared(&mut self) -> Result<Expr> {
        let line = self.line();
        if self.keyword("if") {
            self.expect("(")?;
            let condition = Box::new(self.expr()?);
            self.expect(")")?;
            let body = Box::new(self.primary()?);
            return Ok(Expr { line, node: Node::If { condition, body } });
        }
        self.primary()
    }
}
