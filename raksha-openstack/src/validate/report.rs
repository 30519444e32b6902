//! A validation as a table.

use std::fmt;

use super::{Answer, Finding, Validation};

impl Answer {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Yes(why) => ("yes", why),
            Self::Unknown(why) => ("?", why),
            Self::No(why) => ("no", why),
        }
    }

    /// Whether it is a yes.
    pub fn is_yes(&self) -> bool {
        matches!(self, Self::Yes(_))
    }
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} as {} in project {} ({})",
            self.cloud,
            self.user,
            self.project,
            self.roles.join(", ")
        )?;
        writeln!(f, "services")?;
        for service in &self.services {
            let versions = match &service.microversions {
                Some((oldest, newest)) => format!("{} {oldest} to {newest}", service.service),
                None => service.service.clone(),
            };
            line(f, &versions, &service.answer)?;
        }
        for (title, findings) in [
            ("roads to the bytes of disks", &self.roads),
            ("consistency", &self.consistency),
            ("rights", &self.rights),
        ] {
            writeln!(f, "{title}")?;
            for Finding { what, answer } in findings {
                line(f, what, answer)?;
            }
        }
        if !self.left.is_empty() {
            writeln!(f, "left behind, to be removed by hand")?;
            for left in &self.left {
                writeln!(f, "  {left}")?;
            }
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, what: &str, answer: &Answer) -> fmt::Result {
    let (short, why) = answer.parts();
    writeln!(f, "  {what:<52}{short:<5}{why}")
}

#[cfg(test)]
mod tests {
    use super::super::ServiceFinding;
    use super::*;

    #[test]
    fn a_table_says_what_to_change_and_json_says_the_same() {
        let found = Validation {
            cloud: "http://keystone.example/v3".to_owned(),
            user: "demo".to_owned(),
            project: "shop".to_owned(),
            roles: vec!["member".to_owned()],
            services: vec![ServiceFinding {
                service: "compute".to_owned(),
                microversions: Some(("2.1".to_owned(), "2.93".to_owned())),
                answer: Answer::Yes("it serves".to_owned()),
            }],
            roads: vec![Finding::new(
                "rbd",
                Answer::No("no access is configured".to_owned()),
            )],
            consistency: Vec::new(),
            rights: vec![Finding::new(
                "make networks",
                Answer::Unknown("not tried".to_owned()),
            )],
            left: vec!["volumes/1: it is in use".to_owned()],
        };
        let table = found.to_string();
        for text in [
            "as demo in project shop (member)",
            "compute 2.1 to 2.93",
            "no   no access",
            "?    not tried",
            "volumes/1",
        ] {
            assert!(table.contains(text), "{text} is missing in\n{table}");
        }
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Validation>(&json).unwrap(), found);
    }
}
