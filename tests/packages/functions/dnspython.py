import dns.message
import dns.name
import dns.rrset


def call() -> object:
    """Write a DNS query and an answer, and read them."""
    query = dns.message.make_query("www.example.org", "AAAA", id=7)
    answer = dns.message.make_response(query)
    answer.answer.append(dns.rrset.from_text("www.example.org.", 300, "IN", "AAAA", "2001:db8::1"))
    read = dns.message.from_wire(answer.to_wire())
    return query.to_wire().hex(), read.to_text(), dns.name.from_text("b.a.").is_subdomain(dns.name.from_text("a."))
