module github.com/libcapsa/libcapsa

go 1.26
