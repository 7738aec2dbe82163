"""A database host with a writer credential: it backs up and lists, and can restore nothing."""


def test_a_writer_credential_backs_up_and_lists_but_restores_nothing(quiet_stack, tmp_path):
    added = quiet_stack.succeed("key", "add", "--writer", "--label", "host").messages[-1]
    credential = tmp_path / "credential"
    (line,) = [value for value in added.values() if isinstance(value, str) and value.startswith("HOLDFAST-WRITER-1")]
    credential.write_text(line)
    credential.chmod(0o600)
    quiet_stack.repository = {**quiet_stack.repository, "identity": {"file": str(credential)}}
    quiet_stack.write()

    quiet_stack.backup()
    second = quiet_stack.backup()
    assert second["stats"]["new_chunks"] < 100
    assert [each["id"] for each in quiet_stack.snapshots()][-1] == second["id"]

    target = tmp_path / "restored"
    refused = quiet_stack.run("restore", "db", "--target", target)
    assert refused.code == 12, str(refused)
    assert "recovery identity" in refused.error["hint"]
    assert not target.exists()
    assert quiet_stack.run("restore", "db", "--target", target, "--dry-run").code == 12
    assert quiet_stack.run("check", "--read-data").code == 12
    assert quiet_stack.succeed("check", "--read-packs")
