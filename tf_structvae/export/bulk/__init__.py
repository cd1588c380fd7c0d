"""Pictures and latents by the thousand, on Apache Beam; see docs/bulk.md."""
