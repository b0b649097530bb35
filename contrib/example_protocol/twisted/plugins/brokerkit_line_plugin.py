"""What twistd finds: a name and where to look for the rest, which is imported when somebody listens."""

from brokerkit.plugin import StreamProtocol

line = StreamProtocol("line", "brokerkit_line.session.LineSession", caller="brokerkit_line.caller.LineCaller")
