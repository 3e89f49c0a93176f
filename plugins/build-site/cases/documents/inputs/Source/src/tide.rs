fn main() {
    println!("<tide>");
}
