from graphws.engine import processor


def test_facts_are_read_by_name_and_empty_where_there_are_none(monkeypatch, tmp_path):
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(processor, "CPUINFO", path)
    assert processor.processor_fact("vendor_id") == ""
    path.write_text("processor : 0\nvendor_id\t: Maker\nflags\t\t: a b\nprocessor : 1\nvendor_id\t: Other\n")
    assert processor.processor_fact("vendor_id") == "Maker"
    assert processor.processor_fact("Features", "flags") == "a b"
    assert processor.processor_fact("model name") == ""
