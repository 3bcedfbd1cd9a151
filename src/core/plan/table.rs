//! The plan as a table for people: one row a service, aligned by terminal cells, then flags and warnings.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::Plan;

/// The plan as text.
pub fn render(plan: &Plan<'_>) -> String {
    let mut rows: Vec<[String; 5]> = vec![["WAVE", "KIND", "NAME", "VERSION", "AFTER"].map(str::to_owned)];
    for (index, wave) in plan.waves.iter().enumerate() {
        let kind = wave.kind.word().to_owned();
        for (name, path) in wave.migrations.iter().map(|m| (&m.name, &m.path.value)) {
            rows.push([index.to_string(), kind.clone(), name.to_string(), String::new(), path.to_string()]);
        }
        for service in &wave.services {
            let version = match &service.digest {
                Some(digest) => format!("{}@{}…", service.version, digest.chars().take(14).collect::<String>()),
                None => service.version.to_string(),
            };
            let after = service.depends_on.iter().map(|t| t.as_str()).collect::<Vec<_>>().join(", ");
            rows.push([index.to_string(), kind.clone(), service.name.to_string(), version, after]);
        }
    }
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let services: usize = plan.waves.iter().map(|w| w.services.len()).sum();
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    let mut out = String::new();
    let (waves, sha) = (plan.waves.len(), plan.manifest_sha256.chars().take(12).collect::<String>());
    let _ = writeln!(
        out,
        "release {}: {services} service{} in {waves} wave{} (manifest {sha})\n",
        plan.release,
        plural(services),
        plural(waves)
    );
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - cell.width() + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    if !plan.flags.is_empty() {
        out.push_str("\nflags at the end\n");
        for flag in plan.flags {
            let _ = writeln!(out, "  {}: {}", flag.key.value, flag.value);
        }
    }
    if !plan.warnings.is_empty() {
        out.push_str("\nwarnings\n");
        for warning in &plan.warnings {
            let _ = writeln!(out, "  {warning}");
        }
    }
    out
}
