//! Expressions: the language's own precedence, weakest first.

use super::{Parser, Result};
use crate::bicep::lexer::{Piece, Token, words};
use crate::bicep::{Expr, Node, Part, Property};

impl Parser {
    pub(super) fn arguments(&mut self) -> Result<Vec<Expr>> {
        let mut arguments = Vec::new();
        loop {
            self.line_ends();
            if self.takes(")") {
                return Ok(arguments);
            }
            arguments.push(self.expr()?);
            self.line_ends();
            if !self.takes(",") && !self.is(")") {
                return self.wrong("`,` or `)`");
            }
        }
    }

    pub(super) fn expr(&mut self) -> Result<Expr> {
        let line = self.line();
        let condition = self.binary(0)?;
        if !self.takes_beyond_lines("?") {
            return Ok(condition);
        }
        let then = Box::new(self.expr()?);
        if !self.takes_beyond_lines(":") {
            return self.wrong("`:`");
        }
        let other = Box::new(self.expr()?);
        Ok(Expr { line, node: Node::Choice { condition: Box::new(condition), then, other } })
    }

    fn binary(&mut self, level: usize) -> Result<Expr> {
        const LEVELS: [&[&str]; 7] = [
            &["??"],
            &["||"],
            &["&&"],
            &["==", "!=", "=~", "!~"],
            &["<", ">", "<=", ">="],
            &["+", "-"],
            &["*", "/", "%"],
        ];
        let Some(signs) = LEVELS.get(level) else { return self.unary() };
        let line = self.line();
        let mut left = self.binary(level + 1)?;
        while let Some(sign) = signs.iter().find(|sign| self.is(sign)) {
            self.next();
            self.line_ends();
            let right = Box::new(self.binary(level + 1)?);
            left = Expr { line, node: Node::Binary { sign, left: Box::new(left), right } };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr> {
        let line = self.line();
        if self.takes("!") {
            return Ok(Expr { line, node: Node::Not(Box::new(self.unary()?)) });
        }
        if self.takes("-") {
            return Ok(Expr { line, node: Node::Minus(Box::new(self.unary()?)) });
        }
        let mut expr = self.primary()?;
        loop {
            let of = Box::new(expr.clone());
            if self.is(".") || self.is(".?") {
                let safe = self.is(".?");
                self.next();
                expr = Expr { line, node: Node::Member { of, name: self.name()?, safe } };
            } else if self.is("[") || self.is("[?") {
                let safe = self.is("[?");
                self.next();
                let at = Box::new(self.expr()?);
                self.expect("]")?;
                expr = Expr { line, node: Node::Index { of, at, safe } };
            } else if self.is("!") {
                // "It is there, I know": says nothing about the value.
                self.next();
            } else {
                return Ok(expr);
            }
        }
    }

    pub(super) fn primary(&mut self) -> Result<Expr> {
        let line = self.line();
        let node = match self.peek().clone() {
            Token::Number(number) => {
                self.next();
                Node::Number(number)
            }
            Token::Text(pieces) => {
                self.next();
                Node::Text(parts(pieces, line)?)
            }
            Token::Sign("(") => {
                if let Some(parameters) = self.lambda_in_parentheses() {
                    let body = Box::new(self.expr()?);
                    return Ok(Expr { line, node: Node::Lambda { parameters, body } });
                }
                self.next();
                self.line_ends();
                let inner = self.expr()?;
                self.line_ends();
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Sign("[") => {
                self.next();
                self.array()?
            }
            Token::Sign("{") => {
                self.next();
                Node::Object(self.properties()?)
            }
            Token::Name(name) => {
                self.next();
                match &*name {
                    "true" => Node::Bool(true),
                    "false" => Node::Bool(false),
                    "null" => Node::Null,
                    _ if self.takes("=>") => {
                        self.line_ends();
                        Node::Lambda { parameters: vec![name], body: Box::new(self.expr()?) }
                    }
                    _ if self.takes("(") => Node::Call { function: name, arguments: self.arguments()? },
                    _ => Node::Name(name),
                }
            }
            _ => return self.wrong("an expression"),
        };
        Ok(Expr { line, node })
    }

    /// `(a, b) =>`, taken if that is what comes.
    fn lambda_in_parentheses(&mut self) -> Option<Vec<String>> {
        let begin = self.at;
        let mut read = || -> Result<Vec<String>> {
            self.expect("(")?;
            let mut names = vec![self.name()?];
            while self.takes(",") {
                names.push(self.name()?);
            }
            self.expect(")")?;
            self.expect("=>")?;
            Ok(names)
        };
        let names = read().ok();
        if names.is_none() {
            self.at = begin;
        }
        names
    }

    fn array(&mut self) -> Result<Node> {
        self.line_ends();
        if self.keyword("for") {
            let (item, index) = if self.takes("(") {
                let item = self.name()?;
                self.expect(",")?;
                let index = self.name()?;
                self.expect(")")?;
                (item, Some(index))
            } else {
                (self.name()?, None)
            };
            if !self.keyword("in") {
                return self.wrong("`in`");
            }
            let over = Box::new(self.expr()?);
            self.expect(":")?;
            let body = Box::new(match self.peek() {
                Token::Name(name) if name == "if" => self.declared()?,
                _ => self.expr()?,
            });
            self.line_ends();
            self.expect("]")?;
            return Ok(Node::For { item, index, over, body });
        }
        let mut items = Vec::new();
        loop {
            self.line_ends();
            if self.takes("]") {
                return Ok(Node::Array(items));
            }
            items.push(self.expr()?);
            if !self.takes(",") && !self.is("]") && *self.peek() != Token::LineEnd {
                return self.wrong("`,`, `]` or the end of the line");
            }
        }
    }

    fn properties(&mut self) -> Result<Vec<Property>> {
        let mut properties = Vec::new();
        loop {
            self.line_ends();
            if self.takes("}") {
                return Ok(properties);
            }
            let line = self.line();
            let key = match self.next() {
                Token::Name(name) => vec![Part::Plain(name)],
                Token::Text(pieces) => parts(pieces, line)?,
                other => return Err((line, format!("expected a property, not {other:?}"))),
            };
            self.expect(":")?;
            properties.push(Property { line, key, value: self.expr()? });
            if !self.takes(",") && !self.is("}") && *self.peek() != Token::LineEnd {
                return self.wrong("`,`, `}` or the end of the line");
            }
        }
    }
}

fn parts(pieces: Vec<Piece>, line: usize) -> Result<Vec<Part>> {
    let each = pieces.into_iter().map(|piece| match piece {
        Piece::Plain(text) => Ok(Part::Plain(text)),
        Piece::Source(source) => {
            let within = |(_, why): (usize, String)| (line, format!("in `${{{source}}}`: {why}"));
            let mut parser = Parser { words: words(&source).map_err(within)?, at: 0 };
            let mut expr = parser.expr().map_err(within)?;
            parser.line_ends();
            if *parser.peek() != Token::End {
                return Err(within((line, "more than one expression".to_owned())));
            }
            expr.line = line;
            Ok(Part::Of(expr))
        }
    });
    each.collect()
}
